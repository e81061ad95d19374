"""The loss of a run from votes, in `transformers.Trainer`, and what stops it early.

KTO on thumbs, DPO on pairs and rewrites, likelihood of what was liked, taught and replayed
(`training.losses`). Preference rewards a margin, whatever becomes of the rest; so the watch looks at what
must not move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback

from training.dataset import Example, Padded, padded
from training.losses import Completions, dpo, kto, kto_kl, likelihood
from training.recipes import VoteRecipe
from training.spoken import ROWS_AT_ONCE, learnt, log_probs, logits_at, measured
from training.vote_steps import Kind

__all__ = ["Watch", "preferring"]

# Of the general examples' places the KL is a mean over so many: a large vocabulary's distributions are kept.
MOST_PLACES = 1024
FALL, MOVE = "fall_of_good_replies", "kl_on_general_rows"


def preferring(recipe: VoteRecipe, *, desirable: float, undesirable: float) -> type[Trainer]:
    """The trainer class for a recipe; ``desirable`` and ``undesirable`` are `training.losses.balance`'s."""

    class _Preferring(Trainer):  # type: ignore[misc] # transformers ships no types
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Tensor],
            return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
            num_items_in_batch: Any = None,
        ) -> Any:
            del num_items_in_batch  # an item's parts are means of their own
            found = _completions(model, inputs)
            loss = _loss(found, inputs, recipe, desirable=desirable, undesirable=undesirable)
            return (loss, {"loss": loss}) if return_outputs else loss

    return _Preferring


def _completions(model: Any, inputs: Mapping[str, Tensor]) -> Completions:
    """What the model gives to each row; mismatched ones are only measured, as in TRL: no gradient is theirs.

    In one pass with the others they cost a third more time and memory.
    """
    ids, labels = inputs["input_ids"], inputs["labels"]
    aside = inputs["kinds"] == Kind.MISMATCHED
    found = log_probs(model, Padded(ids[~aside], labels[~aside]))
    if not aside.any():
        return found
    with torch.no_grad():
        seen = log_probs(model, Padded(ids[aside], labels[aside]))
    order = torch.cat([(~aside).nonzero(), aside.nonzero()]).squeeze(-1).argsort()
    return Completions(
        torch.cat([found.log_probs, seen.log_probs])[order], torch.cat([found.tokens, seen.tokens])[order]
    )


def _loss(
    found: Completions,
    inputs: Mapping[str, Tensor],
    recipe: VoteRecipe,
    *,
    desirable: float,
    undesirable: float,
) -> Tensor:
    kinds, references = inputs["kinds"], inputs["references"]
    policy = found.log_probs

    def rows(*wanted: Kind) -> Tensor:
        return torch.isin(kinds, kinds.new_tensor(wanted))

    thumbs, mismatched = rows(Kind.GOOD, Kind.BAD), rows(Kind.MISMATCHED)
    chosen, rejected = rows(Kind.CHOSEN), rows(Kind.REJECTED)
    liked, replayed = rows(Kind.GOOD, Kind.CHOSEN), rows(Kind.REPLAYED)
    single = kto(
        policy[thumbs],
        references[thumbs],
        kinds[thumbs] == Kind.GOOD,
        inputs["weights"][thumbs],
        kto_kl(policy[mismatched], references[mismatched]),
        beta=recipe.beta,
        desirable=desirable,
        undesirable=undesirable,
    )
    pairs = dpo(
        policy[chosen],
        policy[rejected],
        references[chosen],
        references[rejected],
        beta=recipe.beta,
        label_smoothing=recipe.label_smoothing,
    )
    # Each vote counts alike, whether it is a thumb or a pair.
    votes = (thumbs.sum() + chosen.sum()).clamp(min=1)
    parts = (
        single * thumbs.sum() / votes,
        pairs * chosen.sum() / votes,
        recipe.liked * _likelihood(found, liked),
        recipe.taught * _likelihood(found, inputs["taught"]),
        recipe.replayed * _likelihood(found, replayed),
    )
    return torch.stack(parts).sum()


def _likelihood(found: Completions, rows: Tensor) -> Tensor:
    return likelihood(found.log_probs[rows], found.tokens[rows])


class Watch(TrainerCallback):  # type: ignore[misc] # transformers ships no types
    """Stops a run that forgets, and puts back the last weights that were well.

    ``good`` examples must stay as likely as under the reference, ``general`` ones must get the same words.
    Made before training, while the policy still is the reference. After it ``reason`` says why it was
    stopped, None where it was not. What it saw is kept in the trainer's log, and weights that are not well
    are never saved: so a run that was killed goes on as if it had not been.
    """

    def __init__(
        self,
        model: Any,
        recipe: VoteRecipe,
        *,
        good: Sequence[tuple[Example, float]],
        general: Sequence[Example],
        padding: int,
    ) -> None:
        self._model = model
        self._recipe = recipe
        self._good = good
        self._padding = padding
        self._general = padded(list(general)[:ROWS_AT_ONCE], padding=padding) if general else None
        self._before = self._distributions()
        self._kept = self._weights()
        self.reason: str | None = None
        self.looks: list[tuple[int, float, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Takes up what was seen before a checkpoint, whose weights were well."""
        del args, control
        self._kept = self._weights()
        self.looks = [(seen["step"], seen[FALL], seen[MOVE]) for seen in state.log_history if FALL in seen]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Looks every ``check_every`` steps and at the end."""
        del args
        if state.global_step % self._recipe.check_every and state.global_step != state.max_steps:
            return
        fall, kl = self._fall(), self._kl()
        self.looks.append((state.global_step, fall, kl))
        state.log_history.append({"step": state.global_step, FALL: fall, MOVE: kl})
        # Written so that a value which is no number stops the run too.
        if fall <= self._recipe.most_fall and kl <= self._recipe.most_kl:
            self._kept = self._weights()
            return
        what = (
            f"good replies fell {fall:.3f} nats a token below the reference"
            if not fall <= self._recipe.most_fall
            else f"general replies moved {kl:.3f} nats a token from the reference"
        )
        self.reason = f"stopped at step {state.global_step}: {what}"
        control.should_training_stop = True
        control.should_save = False

    def restore(self) -> None:
        """Puts back the last weights that were well, if the run was stopped."""
        if self.reason is not None:
            trained = dict(self._model.named_parameters())
            with torch.no_grad():
                for name, kept in self._kept.items():
                    trained[name].copy_(kept)

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: parameter.detach().clone()
            for name, parameter in self._model.named_parameters()
            if parameter.requires_grad
        }

    def _fall(self) -> float:
        if not self._good:
            return 0.0
        found = measured(self._model, [example for example, _ in self._good], padding=self._padding)
        falls = [
            (reference - now) / tokens
            for (_, reference), (now, tokens) in zip(self._good, found, strict=True)
        ]
        return sum(falls) / len(falls)

    def _kl(self) -> float:
        """KL(policy || reference), the mean over the general examples' learnt places."""
        if self._before is None:
            return 0.0
        now = self._distributions()
        assert now is not None  # noqa: S101 - there were examples before
        return float((now.exp() * (now - self._before)).sum(-1).mean())

    @torch.inference_mode()
    def _distributions(self) -> Tensor | None:
        """Log-probabilities, [places, vocabulary] float32, of the general examples."""
        if self._general is None:
            return None
        batch = self._general.to(self._model.device)
        was_training = self._model.training
        self._model.eval()
        places, _, targets = learnt(batch.labels)
        real = places[targets >= 0]
        some = real[:: max(1, -(-len(real) // MOST_PLACES))]
        found = logits_at(self._model, batch.input_ids, some).float().log_softmax(-1)
        self._model.train(was_training)
        return found
