"""A run from the written dialogues: a new adapter on the persona's rows, with replay of the general ones."""

from __future__ import annotations

from collections.abc import Sequence

from training.corpus import Row, chats, read_rows, split_rows
from training.course import Course, train
from training.dataset import Batches, Example, batches, chat_example, dealt_example, persona_epoch
from training.invention import vary
from training.material import Learnt, Material
from training.policy import new_policy
from training.recipes import Recipe, digest

__all__ = ["learn_from_corpus"]


def learn_from_corpus(material: Material, recipe: Recipe) -> Learnt:
    """Trains a new adapter on the snapshot's rows."""
    seed = material.snapshot.seed
    model = new_policy(material.base, recipe, seed=seed)
    written = read_rows(material.folder / "replay_persona.jsonl")
    rows, held = split_rows(
        [row for row in written if recipe.variants or not row.is_variant],
        share=recipe.validation,
        seed=seed,
    )
    rows = rows[: recipe.most_rows]
    groups = _groups(material, rows, read_rows(material.folder / "replay_general.jsonl"), recipe)
    persona, tokenizer = material.persona, material.tokenizer
    validation = [
        chat_example(tokenizer, persona.prompt_text, row.turns, budget=material.budget) for row in held
    ]
    curve = train(
        model,
        Batches(groups, padding=tokenizer.pad_token_id),
        Course(material.work, recipe.learning_rate, recipe.warmup, seed, progress=material.progress),
        validation=Batches(
            batches(validation, size=recipe.rows_per_step, seed=0), padding=tokenizer.pad_token_id
        ),
    )
    return Learnt(model, curve, recipe, digest(recipe), groups[0][0], values={"rows": len(rows)})


def _groups(
    material: Material, rows: Sequence[Row], general: Sequence[Row], recipe: Recipe
) -> list[list[Example]]:
    persona, tokenizer, budget = material.persona, material.tokenizer, material.budget
    groups: list[list[Example]] = []
    for seed in range(material.snapshot.seed, material.snapshot.seed + recipe.epochs):
        examples = persona_epoch(tokenizer, persona, rows, recipe.mixture, budget=budget, seed=seed)
        count = int(len(examples) * recipe.general_share)
        replay, _ = split_rows(general, share=1 - count / max(1, len(general)), seed=seed)
        replay = vary(replay, times=1, seed=seed, cards=[persona.prompt_text])
        examples += [
            dealt_example(tokenizer, "", dealt, budget=budget)
            for dealt in chats(replay, share=0, longest=2, seed=seed)
        ]
        groups += batches(examples, size=recipe.rows_per_step, seed=seed)
    return groups
