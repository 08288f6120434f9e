"""Early stopping: training ends when the held-out loss has not fallen for some evaluations in a row."""

import math
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class EarlyStopping(TrainerCallback, ExportableState):  # type: ignore[misc]  # transformers has no types here
    """Counts evaluations without a lower loss; what it has counted lies in every checkpoint.

    transformers' own callback of this kind wants the best checkpoint to be loaded at the end, and forgets its count."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = math.inf
        self.waited = 0

    @property
    def reached(self) -> bool:
        """Whether the run is over."""
        return self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, in transformers' form."""
        best = self.best if math.isfinite(self.best) else None
        return {"args": {"patience": self.patience}, "attributes": {"best": best, "waited": self.waited}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take up the count of the checkpoint that the run goes on from."""
        kept = (state.stateful_callbacks or {}).get(type(self).__name__)
        if kept is not None:
            best, self.waited = kept["attributes"]["best"], kept["attributes"]["waited"]
            self.best = math.inf if best is None else best

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """A loss that is no number is not lower than any."""
        if metrics["eval_loss"] < self.best:
            self.best, self.waited = metrics["eval_loss"], 0
        else:
            self.waited += 1
        if self.reached and state.global_step < state.max_steps:
            control.should_training_stop = True
            # From a checkpoint of this step a later attempt would train on.
            control.should_save = False
