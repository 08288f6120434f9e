"""AdaLoRA while it trains: when ranks shrink, what keeps singular vectors apart, and its state in checkpoints.

PEFT has the method (Zhang et al. 2023, arXiv:2303.10512); its model must be told of every step, adds its penalty to a
loss that TRL does not use, and leaves what it knows of the weights out of what it saves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STATE = "adalora.pt"
"""File in a checkpoint: sensitivities of the weights, and the ranks in force."""
ALLOCATIONS = 200
"""About so many times the ranks are allotted anew."""


def phases(steps: int) -> dict[str, int]:
    """PEFT's total_step, tinit, tfinal and deltaT for a run of so many optimizer steps.

    A tenth of the steps at the rank of the start; then ranks shrink; the last half trains what is left, as in most of
    the paper's own settings (appendix)."""
    first, last = steps // 10, steps // 2
    every = max(1, (steps - first - last) // ALLOCATIONS)
    return {"total_step": steps, "tinit": first, "tfinal": last, "deltaT": every}


class Ranks:
    """The rank allocator of an AdaLoRA model (a PeftModel)."""

    def __init__(self, model: Any) -> None:
        self.tuner = model.base_model
        self.settings = model.peft_config["default"]

    def step_done(self, step: int) -> None:
        """After the optimizer's step number `step` (from 0), while its gradients are still there."""
        self.tuner.update_and_allocate(step)

    def penalty(self) -> Any:
        """How far singular vectors are from orthogonal (section 3.1), weighted; a scalar tensor with gradients."""
        import torch

        found = []
        for name, matrix in self.tuner.model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                products = matrix @ matrix.T if ".lora_A." in name else matrix.T @ matrix
                found.append(torch.linalg.norm(products - torch.eye(len(products), device=products.device)))
        return self.settings.orth_reg_weight * torch.stack(found).mean()

    @contextmanager
    def at_full_rank(self) -> Iterator[None]:
        """PEFT cuts what it saves to the ranks in force; cut weights may come back, so a checkpoint needs all."""
        pattern, self.settings.rank_pattern = self.settings.rank_pattern, None
        try:
            yield
        finally:
            self.settings.rank_pattern = pattern

    def save(self, folder: Path) -> None:
        """Write what the next attempt needs into a checkpoint's folder."""
        import torch

        allocator = self.tuner.rankallocator
        state = {"ipt": allocator.exp_avg_ipt, "unc": allocator.exp_avg_unc, "pattern": self.settings.rank_pattern}
        torch.save(state, folder / STATE)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint's folder."""
        import torch

        state = torch.load(folder / STATE, weights_only=True)
        allocator = self.tuner.rankallocator
        devices = {name: value.device for name, value in self.tuner.model.named_parameters()}
        for known, kept in ((allocator.exp_avg_ipt, state["ipt"]), (allocator.exp_avg_unc, state["unc"])):
            known.update({name: value.to(devices[name]) for name, value in kept.items()})
        allocator.ipt.update({name: value.clone() for name, value in allocator.exp_avg_ipt.items()})
        self.settings.rank_pattern = state["pattern"]
