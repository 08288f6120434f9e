"""TRL's trainer, and the few places where a run differs from it. Its arguments are in `trainer/arguments.py`."""

from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, set_seed
from trl import SFTTrainer

from conf.folder import RunFolder
from conf.schema.optimizers import FACTS
from conf.schema.run import RunConfig
from trainer import elastic, held_out, optimizers, parallel, schedules
from trainer.adapters import Tuned, parameter_groups
from trainer.boundary import Boundary
from trainer.order import Order
from trainer.progress import Progress
from trainer.recording import Recorder
from trainer.resume import ResumeState, read
from trainer.saving import Saver
from trainer.steps import Steps
from trainer.stopping import EarlyStopping


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
        self.add_callback(Steps(self))
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
        """The run's own evaluation of held-out rows, told to the recorder and the callbacks."""
        with optimizers.averaged(self.optimizer, self.model):
            eval_loss = held_out.mean_loss(self)
        if eval_loss is None:
            return self._give_up_evaluation()
        self.recorder.evaluated(self.state.global_step, eval_loss)
        self.progress.evaluation(self.state.global_step, eval_loss)
        found = {"eval_loss": eval_loss}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

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
