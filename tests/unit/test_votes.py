"""Votes become rows: whose words may be learnt, in which direction, and in the shapes that others read."""

from __future__ import annotations

import json

import pytest

from data.records import CastPair, CastRewrite, CastThumb
from data.scrub import scrub
from data.snapshot import VOTE_FILES
from personas.prompt import Message
from training.eligibility import Verdict, is_held_out
from training.errors import CorpusBroken
from training.vote_rows import Pair, Rewrite, Thumb, Votes, as_line, read_votes
from training.votes import SHAPES, Cast, Spoken, named, votes_of


def conversation(*, held_out):
    return next(f"c{number}" for number in range(1000) if is_held_out(f"c{number}") is held_out)


TALK, MEASURED = conversation(held_out=False), conversation(held_out=True)


def prompt(asked="Where do you live?"):
    return (Message("system", "A poet."), Message("user", asked))


def verdict(number, fate="trains", good=0.95, *, reply="a", talk=TALK, rater="ann"):
    thumb = CastThumb(
        number, reply, talk, "li_bai", rater, 1 if good > 0.5 else -1, "user", "yes", None, None, 3, 0
    )
    return Verdict(thumb, fate, good)


def pair(number=1, reply="a", other="b", *, value=1, **more):
    values = {"role": "user", "consent": "yes", "guard": None, "other_guard": None, "silent_others": 0}
    values |= {"conversation_id": TALK, "rater_hash": f"rater {number}"} | more
    return CastPair(number, reply, other, persona="li_bai", value=value, **values)


def rewrite(number=1, reply="a", text="By the river.", **more):
    values = {"role": "moderator", "consent": "yes", "guard": None, "silent_others": 0}
    values |= {"conversation_id": TALK, "rater_hash": "moderator"} | more
    return CastRewrite(number, reply, persona="li_bai", text=text, **values)


SPOKEN = {name: Spoken(prompt(), f"Reply {name}.") for name in "abcd"}


def rows(*, verdicts=(), pairs=(), rewrites=(), spoken=SPOKEN):
    return votes_of(Cast(verdicts, pairs, rewrites), spoken, scrub)


class TestThumbs:
    def test_a_reply_is_one_row_however_many_thumbs_it_has(self):
        found = rows(verdicts=[verdict(1), verdict(2, rater="bob"), verdict(3, reply="b", good=0.1)])
        assert found.thumbs == (
            Thumb("a", TALK, prompt(), "Reply a.", True, 0.95, (1, 2)),
            Thumb("b", TALK, prompt(), "Reply b.", False, 0.9, (3,)),
        )
        assert found.held_out == ()

    def test_the_held_out_are_rows_for_measuring_and_none_for_training(self):
        found = rows(verdicts=[verdict(1, "held_out", talk=MEASURED), verdict(2, reply="b")])
        assert [thumb.reply_id for thumb in found.held_out] == ["a"]
        assert [thumb.reply_id for thumb in found.thumbs] == ["b"]

    def test_only_held_out_votes_are_nothing_to_learn_from(self):
        assert rows(verdicts=[verdict(1, "held_out", talk=MEASURED)]).is_empty
        assert not rows(verdicts=[verdict(1)]).is_empty

    @pytest.mark.parametrize(
        "fate", ["counts_only", "unasked", "refused", "others_unasked", "unsure", "outvoted", "tired"]
    )
    def test_a_thumb_of_any_other_fate_is_no_row_and_its_reply_is_not_even_read(self, fate):
        cast = Cast([verdict(1, fate)])
        assert named(cast) == []
        assert votes_of(cast, SPOKEN, scrub) == Votes()

    def test_the_thumbs_that_were_not_of_use_are_not_named_in_the_row(self):
        found = rows(verdicts=[verdict(1), verdict(2, "outvoted", rater="bob")])
        assert found.thumbs[0].vote_ids == (1,)


class TestPairs:
    @pytest.mark.parametrize(("value", "chosen", "rejected"), [(1, "a", "b"), (-1, "b", "a")])
    def test_the_better_one_is_chosen(self, value, chosen, rejected):
        (row,) = rows(pairs=[pair(value=value)]).pairs
        assert (row.reply_id, row.other_reply_id) == (chosen, rejected)
        assert (row.chosen, row.rejected) == (f"Reply {chosen}.", f"Reply {rejected}.")
        assert row.vote_ids == (1,)

    def test_the_same_two_replies_are_one_row_in_either_order(self):
        (row,) = rows(pairs=[pair(1), pair(2, "b", "a", value=-1), pair(3, "b", "a")]).pairs
        assert (row.reply_id, row.other_reply_id, row.vote_ids) == ("a", "b", (1, 2, 3))

    def test_a_tie_and_neither_are_no_row(self):
        assert rows(pairs=[pair(1), pair(2, value=-1)]).pairs == ()
        assert rows(pairs=[pair(1), pair(2, "b", "a")]).pairs == ()
        assert rows(pairs=[pair(value=0)]).is_empty

    @pytest.mark.parametrize(
        "change",
        [
            {"consent": "vote"},
            {"consent": "no"},
            {"consent": "unasked"},
            {"silent_others": 1},
            {"conversation_id": MEASURED},
            {"consumed": True},
            {"tries": 2},
            {"guard": '["language"]'},
            {"value": -1, "other_guard": '["language"]'},
        ],
        ids=str,
    )
    def test_without_leave_or_out_of_bounds_it_is_no_row(self, change):
        cast = Cast([], [pair(**change)])
        assert named(cast) == []
        assert votes_of(cast, SPOKEN, scrub).is_empty

    def test_a_flagged_reply_may_be_the_worse_one(self):
        assert len(rows(pairs=[pair(other_guard='["language"]')]).pairs) == 1

    def test_who_may_not_train_does_not_tip_the_scales(self):
        (row,) = rows(pairs=[pair(1), pair(2, value=-1, consent="vote"), pair(3, value=-1, tries=2)]).pairs
        assert (row.reply_id, row.vote_ids) == ("a", (1,))


class TestRewrites:
    def test_a_moderators_words_are_taught_instead_of_the_replys(self):
        assert rows(rewrites=[rewrite(7)]).rewrites == (
            Rewrite("a", TALK, prompt(), "By the river.", "Reply a.", (7,)),
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"role": "user"},
            {"role": "trusted"},
            {"consent": "vote"},
            {"consent": "unasked"},
            {"silent_others": 2},
            {"conversation_id": MEASURED},
            {"consumed": True},
        ],
        ids=str,
    )
    def test_anybody_elses_and_those_without_leave_are_not(self, change):
        cast = Cast([], [], [rewrite(**change)])
        assert named(cast) == []
        assert votes_of(cast, SPOKEN, scrub).is_empty

    def test_a_flagged_reply_may_be_rewritten(self):
        assert len(rows(rewrites=[rewrite(guard='["character"]')]).rewrites) == 1


def test_the_replies_to_read_are_named_once_in_the_order_of_the_votes():
    cast = Cast([verdict(1), verdict(2, rater="bob")], [pair(1, "c", "a")], [rewrite(1, "d")])
    assert named(cast) == ["a", "c", "d"]


def test_an_erased_reply_gives_no_row_of_any_kind():
    left = {"b": SPOKEN["b"]}
    found = rows(
        verdicts=[verdict(1), verdict(2, "held_out", talk=MEASURED, reply="c")],
        pairs=[pair(1), pair(2, "b", "a")],
        rewrites=[rewrite()],
        spoken=left,
    )
    assert found == Votes()


def test_every_text_of_every_row_is_scrubbed():
    asked, answered = "Mail ann@b.example or 13812345678.", "I am at bob@c.example."
    spoken = {name: Spoken(prompt(asked), answered) for name in "ab"}
    found = rows(
        verdicts=[verdict(1), verdict(2, "held_out", reply="b", talk=MEASURED)],
        pairs=[pair()],
        rewrites=[rewrite(text="Write to eve@d.example.")],
        spoken=spoken,
    )
    for row in (*found.thumbs, *found.held_out, *found.pairs, *found.rewrites):
        text = json.dumps(as_line(row))
        assert ".example" not in text
        assert "138" not in text
        assert row.messages[1].content == "Mail [e-mail] or [phone]."
    assert found.rewrites[0].completion == "Write to [e-mail]."
    assert found.pairs[0].rejected == "I am at [e-mail]."


class TestFiles:
    VOTES = Votes(
        (Thumb("a", TALK, prompt(), "好。", True, 0.9, (1, 2)),),
        (Pair("a", "b", TALK, prompt(), "Yes.", "No.", (3,)),),
        (Rewrite("c", TALK, prompt(), "By the river.", "In a house.", (4,)),),
        (Thumb("d", MEASURED, prompt(), "Never.", False, 0.6),),
    )

    @staticmethod
    def written(folder, votes):
        for name, lines in votes.files().items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (folder / name).write_text(text, encoding="utf-8")

    def test_what_was_written_is_read_again(self, tmp_path):
        assert tuple(self.VOTES.files()) == VOTE_FILES
        self.written(tmp_path, self.VOTES)
        assert read_votes(tmp_path) == self.VOTES

    def test_marks_that_end_a_line_elsewhere_do_not_tear_a_row(self, tmp_path):
        """JSON leaves U+2028, U+2029 and U+0085 as they are, and `str.splitlines` cuts there."""
        said = "One.\u2028Two.\u2029Three.\x85Four."
        votes = Votes((Thumb("a", TALK, prompt(said), said, True, 0.9),))
        self.written(tmp_path, votes)
        assert read_votes(tmp_path) == votes

    def test_a_torn_row_is_named_by_file_and_line(self, tmp_path):
        self.written(tmp_path, self.VOTES)
        with (tmp_path / "pairs.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"reply_id": "x"}\n')
        with pytest.raises(CorpusBroken, match=r"pairs\.jsonl, line 2"):
            read_votes(tmp_path)


class TestShapes:
    """TRL: docs/dataset_formats, "unpaired preference" and "preference"; LLaMA-Factory: data/README.md."""

    LONG = (
        Message("system", "A poet."),
        Message("user", "Hello."),
        Message("assistant", "Well met."),
        Message("user", "Where do you live?"),
    )
    THUMB = Thumb("a", TALK, LONG, "Nowhere.", False, 0.9)
    PAIR = Pair("a", "b", TALK, LONG, "Nowhere.", "In a house.")

    def test_trls_are_lists_of_messages_that_end_with_the_person(self):
        thumb = SHAPES["trl"](self.THUMB)
        assert thumb == {
            "prompt": [{"role": message.role, "content": message.content} for message in self.LONG],
            "completion": [{"role": "assistant", "content": "Nowhere."}],
            "label": False,
        }
        assert SHAPES["trl"](self.PAIR) == {
            "prompt": thumb["prompt"],
            "chosen": [{"role": "assistant", "content": "Nowhere."}],
            "rejected": [{"role": "assistant", "content": "In a house."}],
        }

    def test_llama_factorys_thumbs_are_whole_conversations_with_a_tag(self):
        assert SHAPES["llamafactory"](self.THUMB) == {
            "conversations": [
                {"from": "human", "value": "Hello."},
                {"from": "gpt", "value": "Well met."},
                {"from": "human", "value": "Where do you live?"},
                {"from": "gpt", "value": "Nowhere."},
            ],
            "system": "A poet.",
            "kto_tag": False,
        }

    def test_llama_factorys_pairs_end_with_the_person_and_name_both_replies(self):
        assert SHAPES["llamafactory"](self.PAIR) == {
            "conversations": [
                {"from": "human", "value": "Hello."},
                {"from": "gpt", "value": "Well met."},
                {"from": "human", "value": "Where do you live?"},
            ],
            "system": "A poet.",
            "chosen": {"from": "gpt", "value": "Nowhere."},
            "rejected": {"from": "gpt", "value": "In a house."},
        }

    def test_without_a_persona_the_system_text_is_empty(self):
        bare = Thumb("a", TALK, (Message("user", "4*5?"),), "20", True, 1.0)
        assert SHAPES["llamafactory"](bare)["system"] == ""
        assert SHAPES["trl"](bare)["prompt"] == [{"role": "user", "content": "4*5?"}]
