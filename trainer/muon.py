"""Muon for the matrices of the hidden layers, AdamW for everything else, as one optimiser."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimisers of torch's over one set of parameter groups; groups with `muon` true are Muon's.

    Muon steps along the orthogonalised momentum of a matrix (Jordan et al. 2024), here scaled to the size of AdamW's
    steps (Liu et al. 2025, arXiv:2502.16982, eq. 4), so that both take the same learning rate."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, adamw: dict[str, Any], muon: dict[str, Any]
    ) -> None:
        """`adamw` and `muon` are further arguments of torch.optim.AdamW and torch.optim.Muon.

        Raises ValueError where a group of Muon's holds anything but matrices."""
        groups = list(groups)
        self._inner: dict[bool, torch.optim.Optimizer] = {}
        kinds: list[tuple[bool, Callable[..., torch.optim.Optimizer], dict[str, Any]]] = [
            (True, torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"} | muon),
            (False, torch.optim.AdamW, adamw),
        ]
        for is_muon, kind, arguments in kinds:
            mine = [group for group in groups if group["muon"] is is_muon]
            if mine:
                self._inner[is_muon] = kind(mine, lr=lr, **arguments)
        super().__init__([group for inner in self._inner.values() for group in inner.param_groups], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for is_muon, inner in self._inner.items():
            # Loading a checkpoint and sharding the parameters replace groups and state.
            inner.param_groups = [group for group in self.param_groups if group["muon"] is is_muon]
            inner.state = self.state
            inner.step()
        return loss
