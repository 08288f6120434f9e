"""TRL's trainer, and the few places where a run differs from it. Its arguments are in `trainer/arguments.py`."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import SFTTrainer

from conf.folder import RunFolder
from conf.schema.optimizers import FACTS
from conf.schema.run import RunConfig
from trainer import checkpoint, elastic, optimizers, parallel, schedules
from trainer.adapters import Tuned, parameter_groups
from trainer.boundary import Boundary
from trainer.order import Order
from trainer.progress import Progress
from trainer.recording import Recorder
from trainer.resume import ResumeState, read
from trainer.saving import Saver, wait_for_all
from trainer.stopping import EarlyStopping

LOOK_EACH = 8
"""Batches of an evaluation between two looks for a notice."""


class RunTrainer(SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's SFTTrainer with the run's order of rows, its evaluation, its checkpoints and its step boundary."""

    is_fsdp_enabled: bool
    control: Any
    optimizer: Any
    lr_scheduler: Any

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        recorder: Recorder,
        boundary: Boundary,
        tuned: Tuned,
        begun: ResumeState | None,
        **trl: Any,
    ) -> None:
        self.run = config
        self.tuned = tuned
        self.folder = folder
        self.recorder = recorder
        self.boundary = boundary
        self.step_tokens = 0
        # TRL rounds trained values beside quantised ones to bf16.
        kept = {} if config.adapter.bits is None else tuned.trained()
        super().__init__(model=tuned.model, **trl)
        tuned.restore(kept)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(self))
        self.early_stopping: EarlyStopping | None = None
        if config.method.early_stopping is not None:
            self.early_stopping = EarlyStopping(config.method.early_stopping)
            self.add_callback(self.early_stopping)
        world, sequences = self.args.world_size, len(self.train_dataset)
        self.progress = Progress(config, world, sequences, recorder, self.early_stopping, begun)
        self.saver = Saver(self, recorder, self.progress)
        if config.adapter.is_peft and config.parallel.strategy not in parallel.ZERO:
            # Modules saved beside an adapter are copies in the format of frozen weights, which loses small steps.
            for parameter in self.model.parameters():
                if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
                    parameter.data = parameter.data.float()

    def create_accelerator_and_postprocess(self) -> None:
        """accelerate shards over CPU workers only when it is made to."""
        super().create_accelerator_and_postprocess()
        if self.run.parallel.strategy == "fsdp2" and not self.is_fsdp_enabled:
            from accelerate.utils import FullyShardedDataParallelPlugin

            plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            parallel.use_fsdp_on_cpu(self.accelerator, plugin)
            self.is_fsdp_enabled = True

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimiser that the run asks for, over its parameter groups."""
        if self.optimizer is None:
            model = self.model if model is None else model
            groups = parameter_groups(model, self.run)
            if groups is None:
                decayed = self.get_decay_parameter_names(model)
                groups = optimizers.plain_groups(model, decayed, self.run.adapter.weight_decay)
            self.optimizer = optimizers.build(self.run, model, groups, self.args.max_steps)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule that the run asks for."""
        if self.lr_scheduler is None:
            method = self.run.method
            scheduled = FACTS[method.optimizer].scheduled
            self.lr_scheduler = schedules.build(method, optimizer or self.optimizer, num_training_steps, scheduled)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's loss, and in training what the adapter adds to that of a step."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if not self.model.training or self.tuned.ranks is None:
            return loss
        return loss + self.tuned.penalty() / self.current_gradient_accumulation_steps

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        batch, order = self.run.batch.global_, self.run.data.order
        assert batch is not None
        lengths = row_lengths(self.train_dataset) if order == "length" else []
        rows = len(self.train_dataset)
        return Order(rows, self.args.max_steps * batch, self.run.seed, order, lengths, batch)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The micro batches of one step; their tokens are counted."""
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.step_tokens = sum(_real_tokens(batch) for batch in samples)
        return samples, items

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean negative log-likelihood of the trained tokens of all held-out rows, whatever the batches and the
        training loss are. Draws no random number."""
        with optimizers.averaged(self.optimizer, self.model):
            eval_loss = self._held_out_loss()
        if eval_loss is None:
            return self._give_up_evaluation()
        self.recorder.evaluated(self.state.global_step, eval_loss)
        self.progress.evaluation(self.state.global_step, eval_loss)
        found = {"eval_loss": eval_loss}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _held_out_loss(self) -> float | None:
        """None where the workers were told to leave in the middle of it."""
        rows = self._remove_unused_columns(self.eval_dataset, description="Evaluation")
        world, rank, size = self.args.world_size, self.args.process_index, self.args.per_device_eval_batch_size
        starts = range(0, len(rows), size)
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        # Sharded models talk in each forward pass: all ranks make the same number, some of them for nothing.
        for turn in range(-(-len(starts) // world)):
            self.recorder.alive()
            if turn % LOOK_EACH == LOOK_EACH - 1 and self.boundary.must_leave():
                self._metrics["eval"].clear()
                return None
            number = turn * world + rank
            start = starts[number] if number < len(starts) else 0
            batch = self.data_collator([rows[row] for row in range(start, min(start + size, len(rows)))])
            tokens = int((batch["labels"][:, 1:] != -100).sum())
            with torch.no_grad(), self.compute_loss_context_manager(), self._plain_loss():
                loss = self.compute_loss(self.model, self._prepare_inputs(batch))
            if number < len(starts):
                sums += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        self._metrics["eval"].clear()
        return float(sums[0] / sums[1].clamp(min=1))

    @contextmanager
    def _plain_loss(self) -> Iterator[None]:
        trained_on, self.args.loss_type = self.args.loss_type, "nll"
        try:
            yield
        finally:
            self.args.loss_type = trained_on

    def evaluate_what_is_due(self, args: Any, state: Any) -> None:
        """Of a resumed run: the evaluation of the step that it resumes from, where the last attempt had no time."""
        due = args.eval_strategy == "steps" and state.global_step > 0 and state.global_step % args.eval_steps == 0
        if due and self.progress.evaluated != state.global_step:
            self.evaluate()

    def _give_up_evaluation(self) -> dict[str, float]:
        """Told to leave in the middle of it: save what there is; the next attempt evaluates from the start."""
        self.control.should_save = self.state.global_step > 0
        self.control.should_training_stop = True
        return {}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Past TRL's own override, which only adds a model card.
        self.saver.save(lambda: super(SFTTrainer, self)._save_checkpoint(model, trial))
        if self.state.global_step < self.args.max_steps and self.boundary.must_leave():
            # Told while it was written: a further step would only have to be written, too.
            self.control.should_training_stop = True

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Trainer's own, but that a checkpoint which is written behind training gets copies."""
        if self.saver.snapshot is None:
            super().save_model(output_dir, _internal_call)
        else:
            assert output_dir is not None
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            self.saver.snapshot.take_model(self, output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.saver.snapshot is None:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        self.saver.snapshot.take_optimizer(self, output_dir)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _run_epoch(self, **said: Any) -> None:
        # What is evaluated at the start of an attempt may have ended the run.
        if not self.control.should_training_stop:
            super()._run_epoch(**said)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.tuned.load(Path(resume_from_checkpoint))

    def _load_rng_state(self, checkpoint_folder: str | None) -> None:
        if checkpoint_folder is None or read(Path(checkpoint_folder)).world == self.args.world_size:
            super()._load_rng_state(checkpoint_folder)
        else:
            rank, step = self.args.process_index, self.state.global_step
            elastic.load_random_state(Path(checkpoint_folder), rank, self.run.seed, step)

    def save_artefact(self, final: Path) -> None:
        """Write the adapter (PEFT layout) or the model (Transformers layout), whole, with the tokenizer. All ranks."""
        partial = final.with_name(f".partial-{final.name}")
        if self.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)
        wait_for_all()
        with optimizers.averaged(self.optimizer, self.model):
            self._write(partial)
        wait_for_all()
        if self.args.should_save:
            # A pickle of paths and options, of no use to anybody.
            (partial / "training_args.bin").unlink(missing_ok=True)
            self.tuned.finish(partial)
            checkpoint.replace_folder(partial, final)
        wait_for_all()

    def _write(self, partial: Path) -> None:
        if self.is_fsdp_enabled:
            self._save(str(partial), state_dict=self._gathered())
        elif self.run.parallel.strategy == "zero3":
            self.save_model(str(partial), _internal_call=True)
        else:
            self._save(str(partial))

    def _gathered(self) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        peft = self.run.adapter.is_peft
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=peft)
        state: dict[str, Any] = get_model_state_dict(self.model, options=options)
        # Gathered one by one, tied weights are no longer seen to be one.
        tied = {} if peft else self.model.all_tied_weights_keys
        return {name: tensor for name, tensor in state.items() if name not in tied}


class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Joins Trainer's loop with the recorder and the step boundary."""

    def __init__(self, trainer: RunTrainer) -> None:
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


def build(
    config: RunConfig,
    folder: RunFolder,
    recorder: Recorder,
    boundary: Boundary,
    args: Any,
    tuned: Tuned,
    tokenizer: Any,
    train: Any,
    held_out: Any | None,
    begun: ResumeState | None,
) -> RunTrainer:
    """The trainer of a model with its adapter attached, `begun` at a checkpoint or from nothing. Random numbers
    (dropout) differ from rank to rank."""
    trainer = RunTrainer(
        config,
        folder,
        recorder,
        boundary,
        tuned,
        begun,
        args=args,
        processing_class=tokenizer,
        train_dataset=train,
        eval_dataset=held_out,
    )
    set_seed(config.seed + args.process_index)
    return trainer


def row_lengths(rows: Any) -> list[int]:
    """Tokens of each row of a dataset, read without the tokens."""
    whole = rows if rows._indices is None else rows.flatten_indices()
    return [length for chunk in whole.data.column("input_ids").chunks for length in chunk.value_lengths().to_pylist()]


def _real_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a micro batch that are not padding. Packed rows come without a mask and have none."""
    mask = batch.get("attention_mask")
    return int(batch["input_ids"].numel() if mask is None else mask.sum())
