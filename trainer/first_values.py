"""Adapters whose first values change the frozen weights: PiSSA, OLoRA and LoftQ.

The frozen weights are changed anew at every start, in the same way, from the same seed; a checkpoint holds the adapter
alone. PiSSA's and OLoRA's product with the changed weights is the model as it was, so what they have learnt is the
difference from their first values, which is an adapter of twice the rank for the weights as they were.
"""

import json
import math
from pathlib import Path
from typing import Any

from conf.schema.run import RunConfig
from trainer.failure import WorkerError

PISSA = "pissa_niter_16"
"""PEFT's name for PiSSA by a randomised SVD of 16 iterations: seconds where a full one takes hours, and as good."""
ITERATIONS = 16


class Origin:
    """First values of matrices A and B (float32, on the CPU), by the names that PEFT saves them under."""

    def __init__(self, model: Any) -> None:
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(model)
        self.values = {
            name: value.detach().float().cpu().clone()
            for name, value in state.items()
            if ".lora_A." in name or ".lora_B." in name
        }

    def subtract(self, folder: Path) -> None:
        """Make the adapter saved in `folder` one for the original weights: [A; A0] and [B, -B0], of rank 2 r.

        B A - B0 A0 is what was learnt; all other tensors stay."""
        import torch
        from safetensors.torch import load_file, save_file

        weights, settings = folder / "adapter_model.safetensors", folder / "adapter_config.json"
        tensors = load_file(weights)
        for name, first in self.values.items():
            last = tensors[name]
            side = 0 if ".lora_A." in name else 1
            tensors[name] = torch.cat([last, (first if side == 0 else -first).to(last.dtype)], dim=side).contiguous()
        save_file(tensors, weights, metadata={"format": "pt"})
        said = json.loads(settings.read_text(encoding="utf-8"))
        said["init_lora_weights"] = True
        said["lora_alpha"] *= math.sqrt(2) if said["use_rslora"] else 2
        said["r"] *= 2
        settings.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def make_up_for_quantisation(model: Any, config: RunConfig, weights: Path) -> None:
    """LoftQ with one iteration (Li et al. 2023, arXiv:2310.08659, algorithm 1): A and B begin as the best low-rank
    approximation of what quantisation has taken from each weight, scaled so that the adapter adds just that.

    `model` is a PeftModel of LoRA. Where its weights are quantised, the originals are read from the folder `weights`;
    where they are not, they get the values that quantisation leaves. Raises WorkerError for a weight that is not there.
    """
    import torch
    from peft.tuners.lora.layer import Linear, LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer) or "default" not in layer.lora_A:
            continue
        base = layer.get_base_layer()
        if config.adapter.bits is None:
            if not isinstance(layer, Linear):
                raise WorkerError(
                    f"init=loftq is for linear layers, and {name} is none: take it out of adapter.targets"
                )
            original = base.weight.detach()
            left = quantised(original, config.adapter.loftq_bits)
            base.weight.data = left
        else:
            original = _original(weights, f"{name.removeprefix('base_model.model.')}.weight")
            left = dequantize_module_weight(base).detach()
        lost = original.to(left.device, torch.float32) - left.float()
        rank = layer.r["default"]
        rows, values, columns = torch.svd_lowrank(lost, q=rank, niter=ITERATIONS)
        root = (values / layer.scaling["default"]).sqrt()
        for matrix, value in ((layer.lora_A["default"], (columns * root).T), (layer.lora_B["default"], rows * root)):
            matrix.weight.data = value.to(matrix.weight.dtype).contiguous()


def quantised(weight: Any, bits: int) -> Any:
    """What is left of a weight (outputs x inputs) after bitsandbytes has quantised it: 4 bits as NF4 in blocks of 64
    without double quantisation, 8 bits by rows. Same shape and dtype."""
    from bitsandbytes import functional

    if bits == 4:
        packed, state = functional.quantize_4bit(weight.contiguous(), blocksize=64, quant_type="nf4")
        return functional.dequantize_4bit(packed, state).to(weight.dtype)
    packed, scales, _ = functional.int8_vectorwise_quant(weight.half())
    return functional.int8_vectorwise_dequant(packed, scales).to(weight.dtype)


def _original(weights: Path, name: str) -> Any:
    """One tensor of a folder of safetensors files."""
    from safetensors import safe_open

    index = weights / "model.safetensors.index.json"
    files = sorted(weights.glob("*.safetensors"))
    if index.is_file():
        place = json.loads(index.read_text(encoding="utf-8"))["weight_map"].get(name)
        files = [weights / place] if place else []
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            if name in set(tensors.keys()):
                return tensors.get_tensor(name)
    raise WorkerError(f"init=loftq needs {name} as it was before quantisation, which is not in {weights}")
