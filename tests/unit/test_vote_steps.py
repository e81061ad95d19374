"""The course of a run from votes: every vote once a pass, replay in its shares, the same for one seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from personas.prompt import Message
from tests.fakes.tiny import CHATML, tokenizer_for
from training.dataset import IGNORED, Example
from training.recipes import VOTE_RECIPES, VoteRecipe
from training.spoken import spoken_example
from training.vote_rows import Pair, Rewrite, Thumb, Votes
from training.vote_steps import Kind, Line, Steps, deal, passes, with_references

RECIPE = VoteRecipe("test", learning_rate=1e-3, epochs=3, votes_per_item=4, accumulate=2, mismatched=2)
WORDS = ("Hello", "castle", "houses", "moon", "particular", "nobody")


@pytest.fixture(name="tokenizer", scope="module")
def _tokenizer():
    return tokenizer_for(CHATML)


def said(number, words):
    return f"{number}: " + " ".join(WORDS[(number + at) % len(WORDS)] for at in range(words))


def asked(number, words=3):
    return (Message("system", "You are nobody."), Message("user", said(number, words) + "?"))


def thumb(number, *, words=8):
    is_good = number % 3 > 0
    return Thumb(
        f"r{number}", f"c{number}", asked(number), said(number, words), is_good, 0.9 if is_good else 0.8
    )


def pair(number):
    return Pair(
        f"p{number}", f"q{number}", "c", asked(number + 300), said(number + 300, 6), said(number + 400, 6)
    )


def rewrite(number):
    return Rewrite(f"w{number}", "c", asked(number + 500), said(number + 500, 5), said(number + 600, 7))


def examples(many, *, length, first):
    """Replay that is told apart by its first id."""
    generator = random.Random(many)
    lengths = [generator.randint(length // 2, length * 3 // 2) for _ in range(many)]
    return [
        Example((first + number, *range(2, size + 1)), (IGNORED, *range(2, size + 1)))
        for number, size in enumerate(lengths)
    ]


PERSONA = examples(60, length=70, first=10_000)
GENERAL = examples(40, length=110, first=20_000)


def dealt(votes, tokenizer, recipe=RECIPE, *, seed=3, persona=PERSONA, general=GENERAL):
    return deal(votes, tokenizer, recipe, persona=persona, general=general, seed=seed)


def mixed(thumbs=22, pairs=3, rewrites=2):
    generator = random.Random(1)
    return Votes(
        tuple(thumb(number, words=generator.randint(1, 60)) for number in range(thumbs)),
        tuple(map(pair, range(pairs))),
        tuple(map(rewrite, range(rewrites))),
    )


def voted(lines):
    """The lines that somebody voted on."""
    return [line for line in lines if line.kind < Kind.MISMATCHED]


def rounds(items, many):
    """The votes' examples, a pass at a time; the first of a comparison stands for it."""
    order = [line.example for lines in items for line in voted(lines) if line.kind != Kind.REJECTED]
    return [order[start : start + many] for start in range(0, len(order), many)]


class TestShares:
    @pytest.mark.parametrize("recipe", [RECIPE, VOTE_RECIPES["starter"], VOTE_RECIPES["large"]])
    def test_half_of_the_tokens_are_votes_three_tenths_the_persona_two_tenths_general(
        self, tokenizer, recipe
    ):
        tokens = Counter()
        for lines in dealt(mixed(90, 6, 4), tokenizer, recipe):
            for line in lines:
                replayed = "general" if line.example.ids[0] >= 20_000 else "persona"
                what = replayed if line.kind == Kind.REPLAYED else "votes"
                tokens[what] += len(line.example.ids) * (line.kind != Kind.MISMATCHED)
        shares = {what: many / tokens.total() for what, many in tokens.items()}
        assert shares == pytest.approx({"votes": 0.5, "persona": 0.3, "general": 0.2}, abs=0.02)

    def test_every_replayed_row_comes_before_one_comes_again(self, tokenizer):
        items = dealt(mixed(90), tokenizer)
        for source, first in ((PERSONA, 10_000), (GENERAL, 20_000)):
            seen = Counter(
                line.example.ids[0]
                for lines in items
                for line in lines
                if line.kind == Kind.REPLAYED and first <= line.example.ids[0] < first + 10_000
            )
            assert len(seen) == len(source)
            assert max(seen.values()) - min(seen.values()) <= 1

    def test_without_replay_there_are_votes_alone(self, tokenizer):
        items = dealt(mixed(), tokenizer, persona=(), general=())
        kinds = {line.kind for lines in items for line in lines}
        assert kinds == set(Kind) - {Kind.REPLAYED}


class TestOrder:
    def test_every_vote_comes_once_a_pass_and_in_another_order_in_the_next(self, tokenizer):
        votes = mixed()
        first, second, third = rounds(dealt(votes, tokenizer, replace(RECIPE, accumulate=1)), 27)
        assert len(set(first)) == 27
        assert set(first) == set(second) == set(third)
        assert first != second != third != first

    def test_the_votes_of_an_item_are_other_ones_in_the_next_pass(self, tokenizer):
        """TRL never deals them anew: then each thumb meets the same KL estimate in every pass."""
        items = dealt(mixed(), tokenizer, replace(RECIPE, accumulate=1))
        groups = [frozenset(line.example for line in voted(lines)) for lines in items]
        half = len(groups) // 3
        assert len(set(groups[:half]) & set(groups[half : 2 * half])) <= 1

    def test_both_halves_of_a_comparison_stand_in_one_item_in_the_same_order(self, tokenizer):
        votes = mixed(5, 4, 3)
        halves = {}
        for one in votes.pairs:
            chosen, rejected = (
                spoken_example(tokenizer, one.messages, text) for text in (one.chosen, one.rejected)
            )
            halves[chosen] = rejected
        for one in votes.rewrites:
            chosen, rejected = (
                spoken_example(tokenizer, one.messages, text) for text in (one.completion, one.rejected)
            )
            halves[chosen] = rejected
        seen = 0
        for lines in dealt(votes, tokenizer):
            chosen = [line.example for line in lines if line.kind == Kind.CHOSEN]
            rejected = [line.example for line in lines if line.kind == Kind.REJECTED]
            assert [halves[one] for one in chosen] == rejected
            seen += len(chosen)
        assert seen > 7

    def test_only_rewrites_are_taught_and_thumbs_keep_label_and_weight(self, tokenizer):
        votes = mixed(9, 2, 2)
        taught = {spoken_example(tokenizer, one.messages, one.completion) for one in votes.rewrites}
        labels = {
            spoken_example(tokenizer, one.messages, one.completion): (one.is_good, one.weight)
            for one in votes.thumbs
        }
        for line in (line for lines in dealt(votes, tokenizer) for line in lines):
            assert line.is_taught == (line.kind == Kind.CHOSEN and line.example in taught)
            if line.kind in {Kind.GOOD, Kind.BAD}:
                assert labels[line.example] == (line.kind == Kind.GOOD, line.weight)

    def test_the_same_seed_makes_the_same_items_and_another_one_others(self, tokenizer):
        votes = mixed()
        assert dealt(votes, tokenizer) == dealt(votes, tokenizer)
        assert dealt(votes, tokenizer) != dealt(votes, tokenizer, seed=4)


class TestSizes:
    @pytest.mark.parametrize("many", [1, 2, 3, 4, 5, 6, 7, 9, 13, 32, 33, 65])
    def test_no_item_holds_one_vote_alone_where_there_are_more(self, tokenizer, many):
        votes = Votes(tuple(thumb(number, words=1) for number in range(many)))
        items = dealt(votes, tokenizer, replace(RECIPE, accumulate=1), persona=(), general=())
        sizes = [len(voted(lines)) for lines in items]
        assert sum(sizes) == 3 * many
        assert max(sizes) <= 4
        assert min(sizes) >= min(2, many)
        assert max(sizes) - min(sizes) <= 1

    @pytest.mark.parametrize("many", [1, 3, 4, 5, 11, 37])
    @pytest.mark.parametrize("accumulate", [1, 2, 4])
    def test_items_make_whole_steps(self, tokenizer, many, accumulate):
        votes = Votes(tuple(thumb(number, words=2) for number in range(many)))
        recipe = replace(RECIPE, accumulate=accumulate, epochs=1)
        items = dealt(votes, tokenizer, recipe, persona=(), general=())
        assert items
        assert len(items) % accumulate == 0

    def test_few_votes_are_gone_through_until_there_are_steps_enough(self, tokenizer):
        votes = Votes(tuple(map(thumb, range(10))))
        recipe = replace(RECIPE, least_steps=12, epochs=1)
        assert passes(10, recipe) == 8
        assert passes(10, RECIPE) == 3
        assert len(dealt(votes, tokenizer, recipe)) == 12 * recipe.accumulate

    def test_long_and_short_votes_are_not_mixed_more_than_needed(self, tokenizer):
        """Padding costs what words cost: every row of an item is as long as its longest."""
        generator = random.Random(2)
        votes = Votes(tuple(thumb(number, words=generator.randint(1, 120)) for number in range(130)))
        items = dealt(votes, tokenizer, replace(RECIPE, accumulate=1), persona=(), general=())
        sizes = [[len(line.example.ids) for line in voted(lines)] for lines in items]
        used = sum(map(sum, sizes)) / sum(max(each) * len(each) for each in sizes)
        whole = [size for each in sizes for size in each]
        at_random = [[generator.choice(whole) for _ in range(4)] for _ in range(400)]
        chance = sum(map(sum, at_random)) / sum(max(each) * len(each) for each in at_random)
        assert used > 0.9
        assert chance < 0.8

    def test_an_item_of_pairs_only_has_no_mismatched_line(self, tokenizer):
        items = dealt(Votes((), tuple(map(pair, range(5)))), tokenizer)
        assert {line.kind for lines in items for line in lines} == {
            Kind.CHOSEN,
            Kind.REJECTED,
            Kind.REPLAYED,
        }


class TestMismatched:
    def test_each_is_a_prompt_of_the_item_with_the_reply_of_the_thumb_before(self, tokenizer):
        votes = mixed(22, 0, 0)
        by_example = {spoken_example(tokenizer, one.messages, one.completion): one for one in votes.thumbs}
        for lines in dealt(votes, tokenizer):
            thumbs = [by_example[line.example] for line in voted(lines)]
            expected = [
                spoken_example(tokenizer, one.messages, thumbs[place - 1].completion)
                for place, one in enumerate(thumbs)
            ]
            found = [line.example for line in lines if line.kind == Kind.MISMATCHED]
            assert found == expected[: RECIPE.mismatched]
            assert not set(found) & set(by_example), "none is somebody's own reply"

    def test_one_thumb_beside_pairs_has_none(self, tokenizer):
        """With its own reply it would measure its own reward."""
        items = dealt(Votes((thumb(1),), (pair(1), pair(2))), tokenizer)
        assert all(line.kind != Kind.MISMATCHED for lines in items for line in lines)


class TestTensors:
    def test_an_item_becomes_tensors_line_by_line(self):
        short, long = Example((5, 6, 7), (IGNORED, 6, 7)), Example((8,) * 40, (IGNORED, *(8,) * 39))
        lines = [
            Line(short, Kind.GOOD, 0.75, reference=-1.5),
            Line(long, Kind.CHOSEN, is_taught=True, reference=-2.5),
            Line(short, Kind.REPLAYED),
        ]
        item = Steps([lines], padding=0)[0]
        assert item["input_ids"].shape == item["labels"].shape == (3, 64)
        assert item["labels"][0].tolist() == [6, 7, *[IGNORED] * 62], "where they are predicted"
        assert item["kinds"].tolist() == [Kind.GOOD, Kind.CHOSEN, Kind.REPLAYED]
        assert item["weights"].tolist() == [0.75, 1.0, 1.0]
        assert item["references"].tolist() == [-1.5, -2.5, 0.0]
        assert item["taught"].tolist() == [False, True, False]
        assert item["weights"].dtype == item["references"].dtype == torch.float32

    def test_references_go_to_every_line_of_an_example(self):
        one, other = Example((1, 2), (IGNORED, 2)), Example((1, 3), (IGNORED, 3))
        items = [[Line(one, Kind.GOOD), Line(other, Kind.REPLAYED)], [Line(one, Kind.MISMATCHED)]]
        found = with_references(items, {one: -3.0})
        assert [[line.reference for line in lines] for lines in found] == [[-3.0, 0.0], [-3.0]]
        assert [[line.kind for line in lines] for lines in found] == [
            [Kind.GOOD, Kind.REPLAYED],
            [Kind.MISMATCHED],
        ]
