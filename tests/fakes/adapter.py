"""An adapter folder of the right shape, with weights that nobody computed."""

from __future__ import annotations

import json

from data.manifest import adapter_digest, write_manifest
from tests.fakes.engine import FINGERPRINT

TENSOR = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


def adapter(folder, *, fingerprint=FINGERPRINT, seed=0):
    """A folder that every check but the engine's own takes for an adapter."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    size = 8 * 4 * 4
    header = {
        TENSOR.format("A"): {"dtype": "F32", "shape": [8, 4], "data_offsets": [0, size]},
        TENSOR.format("B"): {"dtype": "F32", "shape": [4, 8], "data_offsets": [size, 2 * size]},
    }
    raw = json.dumps(header).encode()
    body = bytes([seed]) * (2 * size)
    (folder / "adapter_model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + body)
    write_manifest(folder, base_fingerprint=fingerprint, details={"persona": folder.parent.name})
    return adapter_digest(folder)
