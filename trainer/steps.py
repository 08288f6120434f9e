"""Between two steps: joins Trainer's loop with the recorder, the saver and the step boundary."""

from typing import Any

from transformers import TrainerCallback

from trainer import checkpoint, elastic, parallel
from trainer.saving import wait_for_all


class Steps(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """What happens between steps, for a trainer (RunTrainer)."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.copy_gone = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self.trainer.run
        # A resumed state brings the intervals of the attempt that saved it.
        state.compute_steps(args, state.max_steps)
        parallel.check_layout(
            run.parallel.strategy, args.world_size, self.trainer.model_wrapped, self.trainer.optimizer
        )
        self.trainer.recorder.begin(state.max_steps, state.global_step)
        step = state.global_step
        resumed = self.trainer.folder.checkpoints / checkpoint.name_of(step) if step else None
        self.trainer.saver.begin(step, resumed)
        self.trainer.evaluate_what_is_due(args, state)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.tuned.step_done(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.saver.check()
        seconds = self.trainer.recorder.since_last_step()
        due = self.trainer.saver.step_done(state.global_step, seconds)
        agreed = self.trainer.boundary.agree(self.trainer.step_tokens, due, state.global_step)
        self._discard_copy(args)
        self.trainer.recorder.step_done(state.global_step, agreed.tokens)
        if agreed.save and args.should_save:
            self.trainer.folder.save_file.unlink(missing_ok=True)
        if (agreed.stop or agreed.notice) and state.global_step < state.max_steps:
            control.should_training_stop = True
        if agreed.notice:
            # Saved first; the next attempt evaluates what is due.
            control.should_evaluate = False
        if agreed.save or agreed.due or agreed.stop or agreed.notice:
            control.should_save = True
        if control.should_save:
            # A line of metrics never spans a checkpoint, from which a later attempt may count anew.
            control.should_log = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wait_for_all()
        self._discard_copy(args)

    def _discard_copy(self, args: Any) -> None:
        """All have resumed: a copy of the checkpoint for this number of workers has done its work."""
        if args.should_save and not self.copy_gone:
            elastic.discard(self.trainer.folder.checkpoints)
            self.copy_gone = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            norm = logs.get("grad_norm")
            self.trainer.recorder.metrics(state.global_step, logs["loss"], logs["learning_rate"], norm)
        # metrics.jsonl is the history; Trainer would write all of it into every checkpoint.
        state.log_history.clear()
