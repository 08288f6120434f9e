"""Early stopping: training ends when the held-out loss has not fallen for some evaluations in a row."""

import math
from typing import Any

from transformers import TrainerCallback


class EarlyStopping(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Counts evaluations without a lower loss; what it has counted lies in resume.json of every checkpoint.

    transformers' own callback of this kind wants the best checkpoint to be loaded at the end, and forgets its count."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = math.inf
        self.waited = 0

    @property
    def reached(self) -> bool:
        """Whether the run is over."""
        return self.waited >= self.patience

    @property
    def lowest(self) -> float | None:
        """The lowest loss so far; None before the first that is a number."""
        return self.best if math.isfinite(self.best) else None

    def take_up(self, lowest: float | None, waited: int) -> None:
        """Count on from a checkpoint. Call before training, whose first act may be an evaluation."""
        self.best = math.inf if lowest is None else lowest
        self.waited = waited

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
