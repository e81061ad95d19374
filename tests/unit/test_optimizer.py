"""Muon for matrices and AdamW for the rest, as the one optimizer of a trainer."""

from __future__ import annotations

import torch
from transformers import Qwen3ForCausalLM

from tests.fakes.tiny import random_qwen3
from training.optimizer import MuonWithAdamW


def _step(model: Qwen3ForCausalLM, optimizer: MuonWithAdamW) -> None:
    ids = torch.arange(60).reshape(2, 30)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def test_every_weight_moves_and_none_twice():
    model = random_qwen3()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = MuonWithAdamW(model, 1e-2)
    counted = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(counted) == sorted(id(weight) for weight in model.parameters())
    _step(model, optimizer)
    assert [name for name, weight in model.named_parameters() if torch.equal(weight, before[name])] == []


def test_embeddings_are_left_to_adamw():
    model = random_qwen3()
    optimizer = MuonWithAdamW(model, 1e-2)
    embedding = model.get_input_embeddings().weight
    matrices, others = optimizer.param_groups
    assert all(weight is not embedding for weight in matrices["params"])
    assert any(weight is embedding for weight in others["params"])


def test_a_schedule_reaches_both_parts():
    model = random_qwen3()
    optimizer = MuonWithAdamW(model, 1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 0.0)
    _step(model, optimizer)
    schedule.step()
    before = [weight.detach().clone() for weight in model.parameters()]
    _step(model, optimizer)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_loaded_state_goes_on_as_if_nothing_had_happened():
    straight, broken = random_qwen3(), random_qwen3()
    first, second = MuonWithAdamW(straight, 1e-2), MuonWithAdamW(broken, 1e-2)
    for model, optimizer in ((straight, first), (broken, second)):
        _step(model, optimizer)
        _step(model, optimizer)
    resumed = MuonWithAdamW(broken, 1e-2)
    resumed.load_state_dict(second.state_dict())
    _step(straight, first)
    _step(broken, resumed)
    for ours, theirs in zip(broken.parameters(), straight.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
