"""The loss of one step is the sum of its parts, and a run that forgets is stopped and taken back."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import TrainerControl

from tests.fakes.tiny import random_qwen3
from training.course import Course, train
from training.dataset import IGNORED, Example, Padded, padded
from training.losses import Completions, dpo, kto, kto_kl, likelihood
from training.preference import MOST_PLACES, Watch, _loss, preferring
from training.recipes import VoteRecipe
from training.spoken import log_probs, measured
from training.vote_steps import Kind, Line, Steps

RECIPE = VoteRecipe(
    "test",
    learning_rate=1e-3,
    beta=0.2,
    label_smoothing=0.1,
    liked=0.3,
    taught=0.7,
    replayed=0.4,
    check_every=4,
)
GOOD, BAD, CHOSEN, REJECTED, MISMATCHED, REPLAYED = Kind
DESIRABLE, UNDESIRABLE = 1.0, 1.75
FREE = 1e9


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def step(*rows):
    """(kind, policy, reference, tokens, weight, taught) of each line, as one step's values."""
    kinds, policy, references, tokens, weights, taught = zip(*rows, strict=True)
    found = Completions(torch.tensor(policy, requires_grad=True), torch.tensor(tokens))
    inputs = {
        "kinds": torch.tensor([int(kind) for kind in kinds]),
        "references": torch.tensor(references),
        "weights": torch.tensor(weights),
        "taught": torch.tensor(taught),
    }
    return found, inputs


def loss_of(*rows, recipe=RECIPE):
    found, inputs = step(*rows)
    loss = _loss(found, inputs, recipe, desirable=DESIRABLE, undesirable=UNDESIRABLE)
    loss.backward()
    return loss.item(), found.log_probs.grad.tolist()


ROWS = (
    (GOOD, -10.0, -12.0, 5, 0.9, False),
    (REPLAYED, -30.0, 0.0, 20, 1.0, False),
    (CHOSEN, -8.0, -9.0, 4, 1.0, False),
    (REJECTED, -15.0, -13.0, 6, 1.0, False),
    (BAD, -20.0, -18.0, 9, 0.8, False),
    (MISMATCHED, -40.0, -41.0, 5, 1.0, False),
    (CHOSEN, -16.0, -20.0, 10, 1.0, True),
    (MISMATCHED, -44.0, -44.5, 9, 1.0, False),
    (REJECTED, -11.0, -10.0, 7, 1.0, False),
    (GOOD, -6.0, -5.0, 3, 1.0, False),
    (REPLAYED, -12.0, 0.0, 10, 1.0, False),
)


class TestLoss:
    def test_a_mixed_step_is_the_sum_of_its_parts(self):
        kl = kto_kl(torch.tensor([-40.0, -44.0]), torch.tensor([-41.0, -44.5]))
        single = kto(
            torch.tensor([-10.0, -20.0, -6.0]),
            torch.tensor([-12.0, -18.0, -5.0]),
            torch.tensor([True, False, True]),
            torch.tensor([0.9, 0.8, 1.0]),
            kl,
            beta=RECIPE.beta,
            desirable=DESIRABLE,
            undesirable=UNDESIRABLE,
        )
        pairs = dpo(
            torch.tensor([-8.0, -16.0]),
            torch.tensor([-15.0, -11.0]),
            torch.tensor([-9.0, -20.0]),
            torch.tensor([-13.0, -10.0]),
            beta=RECIPE.beta,
            label_smoothing=RECIPE.label_smoothing,
        )
        liked = likelihood(torch.tensor([-10.0, -8.0, -16.0, -6.0]), torch.tensor([5, 4, 10, 3]))
        taught = likelihood(torch.tensor([-16.0]), torch.tensor([10]))
        replayed = likelihood(torch.tensor([-30.0, -12.0]), torch.tensor([20, 10]))
        found, _ = loss_of(*ROWS)
        expected = 3 / 5 * single + 2 / 5 * pairs + 0.3 * liked + 0.7 * taught + 0.4 * replayed
        assert found == pytest.approx(expected.item(), rel=1e-6)

    def test_the_parts_are_what_the_papers_say(self):
        """The same with nothing but `math`, so that a change in the losses shows here too."""
        kl = 0.75
        gains = [(0.9 * DESIRABLE, -(2 - kl)), (0.8 * UNDESIRABLE, -2 - kl), (1.0 * DESIRABLE, -(-1 - kl))]
        single = sum(weight * sigmoid(0.2 * gain) for weight, gain in gains) / 3
        margins = [0.2 * (1 - -2), 0.2 * (4 - -1)]
        pairs = sum(-0.9 * math.log(sigmoid(m)) - 0.1 * math.log(sigmoid(-m)) for m in margins) / 2
        rest = 0.3 * 40 / 22 + 0.7 * 16 / 10 + 0.4 * 42 / 30
        assert loss_of(*ROWS)[0] == pytest.approx(0.6 * single + 0.4 * pairs + rest, rel=1e-6)

    def test_each_line_is_pulled_its_way_and_mismatched_ones_are_not(self):
        bare = replace(RECIPE, liked=0.0, taught=0.0, replayed=0.0)
        _, gradient = loss_of(*ROWS, recipe=bare)
        pulls = {kind: [g for (k, *_), g in zip(ROWS, gradient, strict=True) if k == kind] for kind in Kind}
        assert all(value < 0 for value in (*pulls[GOOD], *pulls[CHOSEN])), "made likelier"
        assert all(value > 0 for value in (*pulls[BAD], *pulls[REJECTED])), "made less likely"
        assert pulls[MISMATCHED] == pulls[REPLAYED] == [0.0, 0.0]

    def test_every_vote_counts_alike_be_it_thumb_or_pair(self):
        """At the reference a thumb's loss is half its weight and a pair's log 2."""
        bare = replace(RECIPE, liked=0.0, taught=0.0, replayed=0.0, label_smoothing=0.0)
        thumb = (GOOD, -5.0, -5.0, 3, 1.0, False)
        pair = ((CHOSEN, -5.0, -5.0, 3, 1.0, False), (REJECTED, -7.0, -7.0, 3, 1.0, False))
        for thumbs, pairs in ((1, 0), (0, 1), (3, 1), (1, 4)):
            found, _ = loss_of(*[thumb] * thumbs, *pair * pairs, recipe=bare)
            expected = (thumbs * 0.5 + pairs * math.log(2)) / (thumbs + pairs)
            assert found == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(
        "kinds",
        [(GOOD, BAD), (GOOD,), (BAD,), (CHOSEN, REJECTED), (REPLAYED,), (GOOD, MISMATCHED, REPLAYED)],
        ids=str,
    )
    def test_a_step_without_pairs_or_thumbs_has_a_finite_loss_and_gradient(self, kinds):
        loss, gradient = loss_of(*[(kind, -5.0, -4.0, 3, 1.0, False) for kind in kinds])
        assert math.isfinite(loss)
        assert all(map(math.isfinite, gradient))
        assert any(gradient)


@pytest.fixture(name="model")
def _model():
    """A tiny base with a random adapter, whose likeliest words the examples below are."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
    base = random_qwen3()
    with torch.no_grad():
        # Else every word is as likely as another, and stays so wherever the adapter goes.
        base.get_input_embeddings().weight.mul_(10)
    return get_peft_model(base, config).eval()


@torch.inference_mode()
def likeliest(model, seed, *, length=24):
    """A row that goes on from three words as the model itself would."""
    ids = torch.randint(1, 64, (3,), generator=torch.Generator().manual_seed(seed)).tolist()
    while len(ids) < length:
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return Example(tuple(ids), (IGNORED,) * 3 + tuple(ids[3:]))


def lines(model):
    kinds = (GOOD, BAD, CHOSEN, REJECTED, MISMATCHED, MISMATCHED, REPLAYED)
    return [Line(likeliest(model, seed), kind, 0.9, reference=-3.0) for seed, kind in enumerate(kinds)]


class TestTrainer:
    def made(self):
        return preferring(RECIPE, desirable=DESIRABLE, undesirable=UNDESIRABLE)

    def by_hand(self, model, item):
        with torch.no_grad():
            found = log_probs(model, Padded(item["input_ids"], item["labels"]))
            return _loss(found, item, RECIPE, desirable=DESIRABLE, undesirable=UNDESIRABLE).item()

    def test_it_computes_that_loss(self, model):
        item = Steps([lines(model)], padding=0)[0]
        trainer = object.__new__(self.made())
        loss, outputs = trainer.compute_loss(model, item, return_outputs=True)
        assert loss.item() == pytest.approx(self.by_hand(model, item), rel=1e-5)
        assert outputs == {"loss": loss}

    def test_of_several_items_of_one_step_the_mean_is_learnt(self, model, tmp_path):
        """transformers takes the loss of a model like ours for scaled already, and then sums them."""
        every = lines(model)
        steps = Steps([every, every[:2], every[2:4], every[3:]], padding=0)
        course = Course(tmp_path, 0.0, 0.0, seed=1, accumulate=2, log_every=1, progress=False)
        curve = train(model, steps, course, trainer_class=self.made())
        hand = [self.by_hand(model, steps[place]) for place in range(4)]
        logged = [loss for _, loss in curve.losses]
        assert logged == pytest.approx([sum(hand[:2]) / 2, sum(hand[2:]) / 2], rel=1e-3)


def moved(model, distance, *, seed=5):
    """Takes the adapter a random way off; NaN breaks it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(distance * torch.randn(parameter.shape, generator=generator))


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters() if parameter.requires_grad]


def same(one, other):
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


class Run:
    """What the trainer tells a callback."""

    def __init__(self, watch, *, max_steps=100, log=()):
        self.watch = watch
        self.control = TrainerControl(should_save=True)
        self.state = SimpleNamespace(global_step=0, max_steps=max_steps, log_history=list(log))

    def reaches(self, step):
        self.state.global_step = step
        self.watch.on_step_end(None, self.state, self.control)
        return self.control.should_training_stop


class TestWatch:
    def watched(self, model, *, good=True, general=True, **limits):
        limits = {"most_fall": FREE, "most_kl": FREE} | limits
        rows = [likeliest(model, seed) for seed in range(4)]
        reference = [sums for sums, _ in measured(model, rows, padding=0)]
        return Watch(
            model,
            replace(RECIPE, **limits),
            good=list(zip(rows, reference, strict=True)) if good else [],
            general=[likeliest(model, seed) for seed in range(10, 13)] if general else [],
            padding=0,
        )

    def test_a_policy_that_stays_is_left_alone(self, model):
        watch = self.watched(model, most_fall=0.001, most_kl=0.001)
        assert not Run(watch).reaches(4)
        assert watch.reason is None
        ((at, fall, kl),) = watch.looks
        assert at == 4
        assert fall == pytest.approx(0, abs=1e-6)
        assert kl == pytest.approx(0, abs=1e-6)

    def test_it_looks_now_and_then_and_at_the_end(self, model):
        watch = self.watched(model)
        run = Run(watch, max_steps=10)
        for number in range(1, 11):
            run.reaches(number)
        assert [at for at, _, _ in watch.looks] == [4, 8, 10]
        assert run.control.should_save

    def test_good_replies_that_fall_stop_it(self, model):
        watch = self.watched(model, most_fall=0.05)
        run = Run(watch)
        moved(model, 0.5)
        assert run.reaches(4)
        assert "step 4: good replies fell" in watch.reason
        assert watch.looks[0][1] > 0.05
        assert not run.control.should_save, "nobody goes on from there"

    def test_good_replies_that_rise_do_not(self, model):
        before = self.watched(model)
        moved(model, 0.5)
        rows = [(example, reference - 1e6) for example, reference in before._good]
        watch = Watch(model, replace(RECIPE, most_fall=0.0, most_kl=FREE), good=rows, general=(), padding=0)
        assert not Run(watch).reaches(4)
        assert watch.looks[0][1] < 0

    def test_general_replies_that_move_stop_it(self, model):
        watch = self.watched(model, most_kl=0.05)
        moved(model, 0.5)
        assert Run(watch).reaches(4)
        assert "step 4: general replies moved" in watch.reason
        assert watch.looks[0][2] > 0.05

    def test_how_far_they_moved_is_the_divergence_from_the_reference(self, model):
        (example,) = general = [likeliest(model, 10)]
        watch = Watch(model, replace(RECIPE, most_kl=FREE), good=(), general=general, padding=0)

        def given():
            batch = padded(general, padding=0)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                logits = model(input_ids=batch.input_ids).logits[0, 2 : len(example.ids) - 1]
            return logits.float().log_softmax(-1)

        before = given()
        moved(model, 0.1)
        now = given()
        divergence = (now.exp() * (now - before)).sum(-1).mean().item()
        Run(watch).reaches(4)
        assert watch.looks[0][2] == pytest.approx(divergence, rel=1e-3)
        assert divergence > 0.01

    @pytest.mark.parametrize("sees", [{"good": True}, {"general": True}], ids=str)
    def test_numbers_that_are_none_stop_it(self, model, sees):
        watch = self.watched(model, **{"good": False, "general": False} | sees)
        before = weights(model)
        moved(model, math.nan)
        assert Run(watch).reaches(4)
        assert watch.reason is not None
        watch.restore()
        assert same(weights(model), before)

    def test_the_last_weights_that_were_well_are_put_back(self, model):
        watch = self.watched(model, most_kl=0.05)
        run = Run(watch)
        moved(model, 0.001)
        assert not run.reaches(4)
        well = weights(model)
        moved(model, 0.001)
        assert not run.reaches(5), "not looked at"
        moved(model, 0.5)
        assert run.reaches(8)
        watch.restore()
        assert same(weights(model), well)

    def test_nothing_is_put_back_where_nothing_was_stopped(self, model):
        watch = self.watched(model)
        assert not Run(watch).reaches(4)
        moved(model, 0.5)
        trained = weights(model)
        watch.restore()
        assert same(weights(model), trained)

    def test_after_a_checkpoint_its_weights_are_the_ones_to_go_back_to(self, model):
        """A run that was killed must end as it would have ended, also where it is stopped soon after."""
        first = Run(self.watched(model, most_kl=0.05))
        watch = self.watched(model, most_kl=0.05)
        moved(model, 0.001)
        first.reaches(4)
        saved = weights(model)
        again = Run(watch, log=first.state.log_history)
        again.state.global_step = 4
        watch.on_train_begin(None, again.state, again.control)
        moved(model, 0.5)
        assert again.reaches(8)
        watch.restore()
        assert same(weights(model), saved)
        assert [at for at, _, _ in watch.looks] == [4, 8]
        assert watch.looks[0] == first.watch.looks[0]

    def test_with_nothing_to_look_at_it_never_stops(self, model):
        watch = self.watched(model, good=False, general=False, most_fall=0.0, most_kl=0.0)
        moved(model, 0.5)
        assert not Run(watch).reaches(4)

    def test_of_many_places_the_same_part_is_compared(self, model):
        row = Example((1, *range(1, 60)), (IGNORED, *range(1, 60)))
        watch = Watch(model, replace(RECIPE, most_kl=0.001), good=(), general=[row] * 30, padding=0)
        assert not Run(watch).reaches(4)
        assert MOST_PLACES // 2 < len(watch._before) <= MOST_PLACES < 30 * 58

    def test_the_model_trains_on_as_before(self, model):
        watch = self.watched(model)
        for mode in (True, False):
            model.train(mode)
            Run(watch).reaches(4)
            assert model.training is mode
