"""Our losses against TRL's own trainers: one model, adapter and batch give one loss and one gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.fakes.tiny import make_base
from training.dataset import IGNORED
from training.losses import completion_log_probs, dpo, kto, kto_kl, likelihood, metrics

pytestmark = pytest.mark.slow
trl = pytest.importorskip("trl", reason="trl, the oracle of the losses, is not installed")

BETA = 0.1
PAIRS = (
    ("Who are you?", "I am nobody in particular.", "The castle."),
    ("你喜欢喝酒吗？", "举杯邀明月，对影成三人。", "四个。"),
    ("霍格沃茨有几个学院？", "一共四个。", "I have four houses, and who are you? Hello!"),
    ("1 2 3", "床前明月光", "疑是地上霜 3 2 1"),
)
LABELS = (True, False, True, True)


@dataclass(frozen=True, slots=True)
class Oracle:
    """A trainer of TRL's whose adapter has left its reference, one batch, and what the reference gave it."""

    trainer: Any
    batch: dict[str, torch.Tensor]
    reference: dict[str, torch.Tensor]

    def policy(self, prefix=""):
        return scored(self.trainer.model, self.batch, prefix)

    def loss(self):
        return self.trainer.compute_loss(self.trainer.model, self.batch)

    def metrics(self, names):
        return {name: self.trainer._metrics["train"][name][-1] for name in names}

    def gradient(self, loss):
        self.trainer.model.zero_grad()
        loss.backward()
        return torch.cat([w.grad.flatten() for w in self.trainer.model.parameters() if w.grad is not None])

    def agrees_with(self, ours):
        theirs = self.loss()
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4)
        wanted = self.gradient(theirs)
        largest = float(wanted.abs().max())
        assert largest > 0
        torch.testing.assert_close(self.gradient(ours), wanted, rtol=1e-4, atol=1e-4 * largest)


def scored(model, batch, prefix=""):
    """What our code finds in a batch of TRL's, through the model's plain forward pass."""
    ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"]
    logits = model(input_ids=ids, attention_mask=batch[f"{prefix}attention_mask"]).logits[:, :-1]
    targets = ids.masked_fill(mask == 0, IGNORED)[:, 1:]
    rows = torch.arange(len(ids)).repeat_interleave(targets.shape[1])
    return completion_log_probs(logits.flatten(0, 1), targets.flatten(), rows, count=len(ids))


def move(model, distance):
    """Takes every weight of the adapter in training a random way off."""
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if ".default." in name:
                weights.add_(distance * torch.randn_like(weights))


def adapted(base, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    linear = ["q_proj", "v_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=4, target_modules=linear, task_type="CAUSAL_LM"))
    move(model, 0.1)
    return model


@pytest.fixture(name="base", scope="module")
def _base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(name="oracle")
def _oracle(base, tmp_path):
    import datasets

    def oracle(trainer, config, rows, *, seed=0, **settings):
        model = adapted(base, seed)
        arguments = config(
            output_dir=str(tmp_path / "run"),
            per_device_train_batch_size=len(rows),
            bf16=False,
            use_cpu=True,
            activation_checkpointing=False,
            max_length=None,
            beta=BETA,
            report_to=[],
            disable_tqdm=True,
            **settings,
        )
        theirs = trainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(base),
        )
        batch = next(iter(theirs.get_train_dataloader()))
        # As in our runs: the reference is asked once, before training. TRL keeps a frozen copy beside it.
        with torch.no_grad():
            reference = {
                prefix: scored(model, batch, prefix).log_probs
                for prefix in ("", "KL_")
                if f"{prefix}input_ids" in batch
            }
        move(model, 0.05)
        model.train()
        return Oracle(theirs, batch, reference)

    return oracle


def says(role, text):
    return [{"role": role, "content": text}]


def thumbs():
    return [
        {"prompt": says("user", prompt), "completion": says("assistant", reply), "label": label}
        for (prompt, reply, _), label in zip(PAIRS, LABELS, strict=True)
    ]


def pairs():
    return [
        {
            "prompt": says("user", prompt),
            "chosen": says("assistant", better),
            "rejected": says("assistant", worse),
        }
        for prompt, better, worse in PAIRS
    ]


@pytest.mark.parametrize(("seed", "undesirable", "is_clamped"), [(0, 1.0, False), (1, 2.5, True)])
def test_kto_on_thumbs_is_trls(oracle, seed, undesirable, is_clamped):
    theirs = oracle(
        trl.KTOTrainer,
        trl.KTOConfig,
        thumbs(),
        seed=seed,
        desirable_weight=1.25,
        undesirable_weight=undesirable,
    )
    is_good, reference = theirs.batch["label"], theirs.reference[""]
    kl = kto_kl(theirs.policy("KL_").log_probs, theirs.reference["KL_"])
    assert (kl.item() == 0) == is_clamped
    policy = theirs.policy().log_probs
    theirs.agrees_with(
        kto(
            policy,
            reference,
            is_good,
            torch.ones(len(LABELS)),
            kl,
            beta=BETA,
            desirable=1.25,
            undesirable=undesirable,
        )
    )
    measured = metrics(policy, reference, is_good, beta=BETA, kl=kl)
    assert measured == pytest.approx(theirs.metrics(measured), rel=1e-4, abs=1e-4)


def test_the_mismatched_completion_is_that_of_the_row_before(oracle):
    batch = oracle(trl.KTOTrainer, trl.KTOConfig, thumbs()).batch

    def completions(prefix):
        ids, mask = batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"].bool()
        return [row[learnt].tolist() for row, learnt in zip(ids, mask, strict=True)]

    assert completions("KL_") == [completions("")[at - 1] for at in range(len(LABELS))]


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_dpo_on_pairs_is_trls_with_and_without_a_likelihood_term(oracle, weight):
    losses = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, weight]}
    if not weight:
        losses = {"loss_type": ["sigmoid"]}
    theirs = oracle(trl.DPOTrainer, trl.DPOConfig, pairs(), **losses)
    policy, reference = theirs.policy(), theirs.reference[""]
    preference = dpo(*policy.log_probs.chunk(2), *reference.chunk(2), beta=BETA, label_smoothing=0.0)
    chosen = likelihood(policy.log_probs.chunk(2)[0], policy.tokens.chunk(2)[0])
    theirs.agrees_with(preference + weight * chosen)
    is_good = torch.arange(len(policy.log_probs)) < len(PAIRS)
    measured = metrics(policy.log_probs, reference, is_good, beta=BETA)
    assert measured == pytest.approx(theirs.metrics(measured), rel=1e-4, abs=1e-4)


def test_label_smoothing_is_trls(oracle):
    """TRL 1.16 smooths "aot" and not "sigmoid"; of a single pair the two are the same loss."""
    theirs = oracle(trl.DPOTrainer, trl.DPOConfig, pairs()[:1], loss_type=["aot"], label_smoothing=0.2)
    halves = *theirs.policy().log_probs.chunk(2), *theirs.reference[""].chunk(2)
    theirs.agrees_with(dpo(*halves, beta=BETA, label_smoothing=0.2))
