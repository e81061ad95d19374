"""A run from votes: the adapter in production goes on learning what people liked.

Its log-probabilities before the first step are the reference (KTO, DPO), measured once. Replay of the
persona's corpus and of general rows keeps what nobody voted on.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.attention import settle
from training.corpus import chats, read_rows, split_rows
from training.course import Course, train
from training.dataset import Example, dealt_example, persona_epoch
from training.errors import RunFailed
from training.losses import balance
from training.material import Learnt, Material
from training.policy import continued_policy
from training.preference import Watch, preferring
from training.recipes import Mixture, VoteRecipe, digest
from training.replay import own_words
from training.spoken import causal, measured
from training.vote_rows import Votes, read_votes
from training.vote_steps import Kind, Line, Steps, deal, passes, with_references

__all__ = ["learn_from_votes"]

# A long chat would make every other row of its item as long.
ALONE = Mixture(joined=0.0)
# General rows are short: so many in one chat are about as long as a reply with its prompt.
TOGETHER = 8
# Good examples by which the watch sees the replies' likelihood fall.
WATCHED = 32


def learn_from_votes(material: Material, recipe: VoteRecipe) -> Learnt:
    """Trains the snapshot's reference adapter further on its votes.

    Raises:
        RunFailed: there is nothing to learn, or the run was stopped before its first good step.
    """
    votes = read_votes(material.folder)
    if votes.is_empty:
        raise RunFailed("The snapshot holds no votes to train on; wait for some, or rebuild from the corpus.")
    seed, tokenizer = material.snapshot.seed, material.tokenizer
    reference = material.folder / "reference"
    model = continued_policy(material.base, reference, quantises=recipe.quantises, seed=seed)
    general = _general(material, model, recipe, votes)
    # From here on as in training: the reference is measured as the policy will be.
    settle(causal(model))
    items = deal(
        votes, tokenizer, recipe, persona=_persona(material, recipe, votes), general=general, seed=seed
    )
    items = with_references(items, _references(model, items, padding=tokenizer.pad_token_id))
    good = _good(items)
    watch = Watch(model, recipe, good=good, general=general, padding=tokenizer.pad_token_id)
    desirable, undesirable = _balance(votes)
    curve = train(
        model,
        Steps(items, padding=tokenizer.pad_token_id),
        Course(
            material.work,
            recipe.learning_rate,
            recipe.warmup,
            seed,
            accumulate=recipe.accumulate,
            log_every=5,
            save_every=recipe.check_every,
            progress=material.progress,
        ),
        trainer_class=preferring(recipe, desirable=desirable, undesirable=undesirable),
        callbacks=[watch],
    )
    watch.restore()
    if watch.reason is not None and len(watch.looks) == 1:
        raise RunFailed(f"The run was {watch.reason}; nothing was published.")
    return Learnt(
        model,
        curve,
        recipe,
        digest(recipe),
        items[0][0].example,
        reference,
        {
            "thumbs": len(votes.thumbs),
            "pairs": len(votes.pairs),
            "rewrites": len(votes.rewrites),
            "held_out": len(votes.held_out),
            "stopped": watch.reason,
            "looks": [
                {"step": step, "fall_of_good_replies": fall, "kl_on_general_rows": kl}
                for step, fall, kl in watch.looks
            ],
        },
    )


def _persona(material: Material, recipe: VoteRecipe, votes: Votes) -> list[Example]:
    """As many of the persona's rows as the replay needs, as serving shows them."""
    rows = read_rows(material.folder / "replay_persona.jsonl")
    wanted = _rows_of_replay(recipe, votes) if recipe.persona_share else 0
    drawn, _ = split_rows(rows, share=1 - min(1.0, wanted / max(1, len(rows))), seed=material.snapshot.seed)
    return persona_epoch(
        material.tokenizer,
        material.persona,
        drawn,
        ALONE,
        budget=material.budget,
        seed=material.snapshot.seed,
    )


def _general(material: Material, model: object, recipe: VoteRecipe, votes: Votes) -> list[Example]:
    """General rows: in the base's own words where the recipe says so, else as they are written."""
    rows = read_rows(material.folder / "replay_general.jsonl")
    if not rows or not recipe.general_share:
        return []
    seed = material.snapshot.seed
    wanted = recipe.own_rows or _rows_of_replay(recipe, votes)
    drawn, _ = split_rows(rows, share=1 - min(1.0, wanted / len(rows)), seed=seed)
    if recipe.own_rows:
        # As they are written where it comes to no end: without any, nothing would be watched.
        drawn = own_words(model, material.tokenizer, drawn, seed=seed) or drawn
    return [
        dealt_example(material.tokenizer, "", dealt, budget=material.budget)
        for dealt in chats(drawn, share=1, longest=TOGETHER, seed=seed)
    ]


def _rows_of_replay(recipe: VoteRecipe, votes: Votes) -> int:
    """About one row of each kind of replay for each vote and pass."""
    many = len(votes.thumbs) + len(votes.pairs) + len(votes.rewrites)
    return many * passes(many, recipe)


def _references(model: object, items: Sequence[Sequence[Line]], *, padding: int) -> dict[Example, float]:
    examples = list(
        dict.fromkeys(line.example for lines in items for line in lines if line.kind != Kind.REPLAYED)
    )
    found = measured(model, examples, padding=padding)
    return {example: log_prob for example, (log_prob, _) in zip(examples, found, strict=True)}


def _good(items: Sequence[Sequence[Line]]) -> list[tuple[Example, float]]:
    """What the policy must go on saying; not rewrites, which are new to it and rise enough to hide a fall."""
    kinds = {Kind.GOOD, Kind.CHOSEN}
    lines = (line for each in items for line in each if line.kind in kinds and not line.is_taught)
    return list({line.example: line.reference for line in lines}.items())[:WATCHED]


def _balance(votes: Votes) -> tuple[float, float]:
    good = sum(thumb.weight for thumb in votes.thumbs if thumb.is_good)
    return balance(good, sum(thumb.weight for thumb in votes.thumbs) - good)
