"""What a run has counted so far and a resumed attempt counts on: rows, tokens, seconds, evaluations, the best one."""

import math

from conf.schema.run import RunConfig
from trainer.elastic import layout_of
from trainer.recording import Recorder
from trainer.resume import Best, ResumeState
from trainer.stopping import EarlyStopping


class Progress:
    """The counters of a run in this attempt. Rank 0 alone knows what was saved, and hence the best; the rest every rank
    has."""

    def __init__(
        self,
        config: RunConfig,
        world: int,
        sequences: int,
        recorder: Recorder,
        stopping: EarlyStopping | None,
        begun: ResumeState | None,
    ) -> None:
        """`begun` is the state that the attempt resumes from; `sequences` make one pass over the data."""
        self.config = config
        self.world = world
        self.sequences = sequences
        self.recorder = recorder
        self.stopping = stopping
        self.best: Best | None = None
        self.evaluated: int | None = None
        self._saved: int | None = None
        self._newest: Best | None = None
        if begun is not None:
            self._take_up(begun)

    def _take_up(self, begun: ResumeState) -> None:
        self.best, self.evaluated, self._saved = begun.best, begun.evaluated, begun.step
        self.recorder.tokens, self.recorder.seconds = begun.tokens, begun.seconds
        if self.stopping is not None:
            self.stopping.take_up(begun.lowest, begun.waited)

    def evaluation(self, step: int, eval_loss: float) -> None:
        """The weights after `step` were evaluated. Those that were saved before are candidates for the best at once,
        others when they are saved."""
        self.evaluated = step
        self._newest = Best(step, eval_loss)
        if self._saved == step:
            self._offer(step)

    def state(self, step: int) -> ResumeState:
        """What the checkpoint of `step` keeps; it is being written."""
        self._saved = step
        self._offer(step)
        batch, stopping = self.config.batch.global_, self.stopping
        assert batch is not None
        return ResumeState(
            step=step,
            **layout_of(self.config, self.world),
            rows=step * batch,
            sequences=self.sequences,
            tokens=self.recorder.tokens,
            seconds=round(self.recorder.seconds, 3),
            evaluated=self.evaluated,
            best=self.best,
            lowest=None if stopping is None else stopping.lowest,
            waited=0 if stopping is None else stopping.waited,
        )

    def kept_best(self) -> int | None:
        """The step of the checkpoint that stays for its held-out loss; None where none does."""
        return self.best.step if self.config.checkpoint.keep_best and self.best is not None else None

    def _offer(self, step: int) -> None:
        """Of equal losses the earlier one is the best; one that is no number never is."""
        newest = self._newest
        if newest is None or newest.step != step:
            return
        if math.isfinite(newest.eval_loss) and (self.best is None or newest.eval_loss < self.best.eval_loss):
            self.best = newest
