"""The one file that knows TRL and transformers' Trainer: their arguments, and the few places where a run differs."""

import inspect
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer import checkpoint, parallel
from trainer.boundary import Boundary
from trainer.recording import Recorder

LOOK_EACH = 8
"""Batches of an evaluation between two looks for a notice."""
OPTIMIZERS = {"adamw": "adamw_torch", "adamw_fused": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit"}
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def total_steps(config: RunConfig, sequences: int) -> int:
    """Optimizer steps of the run over `sequences` training sequences (after packing).

    Passes follow each other without a gap: a global batch may hold the end of one and the start of the next, so that
    every step has all its sequences. Only the last step is filled up, from one pass more."""
    if config.method.max_steps is not None:
        return config.method.max_steps
    assert config.method.epochs is not None and config.batch.global_ is not None
    return max(1, math.ceil(config.method.epochs * sequences / config.batch.global_))


def arguments(config: RunConfig, folder: RunFolder, steps: int, evaluate: bool, resume: bool) -> dict[str, Any]:
    """Arguments of TRL's SFTConfig. The forms for GPUs have not yet been run on a GPU.

    Raises TypeError where the installed TRL does not know one. What TRL switches on by itself (bf16, recomputation of
    activations, its own cutting and packing of rows) is always said."""
    strategy = config.parallel.strategy
    warmup = config.method.warmup
    recompute = bool(config.method.gradient_checkpointing)
    found: dict[str, Any] = {
        "output_dir": str(folder.checkpoints),
        "seed": config.seed,
        "use_cpu": config.gpu.device == "cpu",
        # Rows: prepared, labelled and packed before; TRL puts them into batches and no more.
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": config.data.max_length,
        "packing": config.data.packing,
        "packing_strategy": "bfd",
        "padding_free": False,
        "pad_to_multiple_of": None,
        "shuffle_dataset": False,
        "completion_only_loss": False,
        "assistant_only_loss": False,
        "accelerator_config": {"split_batches": False, "dispatch_batches": False, "even_batches": True},
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": config.gpu.device == "cuda",
        # Steps.
        "per_device_train_batch_size": config.batch.micro,
        "per_device_eval_batch_size": config.batch.micro,
        "gradient_accumulation_steps": config.batch.accumulation,
        "max_steps": steps,
        "average_tokens_across_devices": True,
        "loss_type": "nll",
        # Optimiser.
        "optim": OPTIMIZERS[config.method.optimizer],
        "learning_rate": config.method.learning_rate,
        "lr_scheduler_type": SCHEDULES[config.method.schedule],
        "warmup_steps": warmup if warmup < 1 else round(warmup),
        "weight_decay": config.adapter.weight_decay,
        "max_grad_norm": config.method.max_grad_norm,
        # Numbers and memory.
        "bf16": config.precision.compute == "bf16",
        "fp16": False,
        "use_cache": False,
        "activation_checkpointing": recompute,
        # DeepSpeed's ZeRO-3 with PEFT recomputes correctly in the reentrant way alone (deepspeedai/DeepSpeed#8130).
        "activation_checkpointing_kwargs": {"use_reentrant": strategy == "zero3" and config.adapter.kind == "lora"},
        # When.
        "logging_strategy": "steps",
        "logging_steps": config.tracking.interval,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if evaluate else "no",
        "eval_steps": config.evaluation.interval or steps,
        "eval_on_start": evaluate and not resume,
        "save_strategy": "steps",
        "save_steps": config.checkpoint.interval or steps,
        # Reports are ours.
        "report_to": "none",
        "disable_tqdm": True,
        # Without this, DDP lays gradients into other buckets after the first step of each attempt, and with more than
        # two workers the order in which gloo adds depends on the place in a bucket: a resume would differ.
        "ddp_find_unused_parameters": config.gpu.device == "cpu",
        "trust_remote_code": config.model.trust_remote_code,
    }
    if strategy == "fsdp2":
        found |= {"fsdp": True, "fsdp_config": parallel.fsdp_arguments(config)}
    if strategy in ("zero2", "zero3"):
        found["deepspeed"] = parallel.deepspeed_arguments(config)
    inspect.signature(SFTConfig).bind(**found)
    return found


def settle(found: dict[str, Any]) -> Any:
    """TRL's SFTConfig of `arguments`."""
    return SFTConfig(**found)


class Order(Sampler[int]):
    """Row numbers for a whole run: passes over all rows, each in its own order, without a gap between them.

    It depends on the seed alone, so that step k has the same rows for any number of workers, micro batch and
    accumulation, in a run that was interrupted and in one that was not."""

    def __init__(self, rows: int, length: int, seed: int) -> None:
        self.rows = rows
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        left, number = self.length, 0
        while left > 0:
            dice = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
            rows = torch.randperm(self.rows, generator=dice)[:left].tolist()
            yield from rows
            left -= len(rows)
            number += 1


class RunTrainer(SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's SFTTrainer with the run's order of rows, its evaluation, its checkpoints and its step boundary."""

    is_fsdp_enabled: bool
    control: Any

    def __init__(
        self, config: RunConfig, folder: RunFolder, recorder: Recorder, boundary: Boundary, **trl: Any
    ) -> None:
        self.run = config
        self.folder = folder
        self.recorder = recorder
        self.boundary = boundary
        self.step_tokens = 0
        super().__init__(**trl)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(self))
        if config.precision.compute == "fp32":
            # TRL trains adapters of quantised models in bf16, whatever was asked for.
            for parameter in self.model.parameters():
                if parameter.requires_grad and parameter.dtype == torch.bfloat16:
                    parameter.data = parameter.data.float()

    def create_accelerator_and_postprocess(self) -> None:
        """accelerate shards over CPU workers only when it is made to."""
        super().create_accelerator_and_postprocess()
        if self.run.parallel.strategy == "fsdp2" and not self.is_fsdp_enabled:
            from accelerate.utils import FullyShardedDataParallelPlugin

            plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            parallel.use_fsdp_on_cpu(self.accelerator, plugin)
            self.is_fsdp_enabled = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        rows = len(self.train_dataset)
        assert self.run.batch.global_ is not None
        return Order(rows, self.args.max_steps * self.run.batch.global_, self.run.seed)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The micro batches of one step; their tokens are counted."""
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.step_tokens = sum(_real_tokens(batch) for batch in samples)
        return samples, items

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss over the trained tokens of all held-out rows, whatever the batches are. Draws no random number."""
        rows = self._remove_unused_columns(self.eval_dataset, description="Evaluation")
        world, rank, size = self.args.world_size, self.args.process_index, self.run.batch.micro
        assert size is not None
        starts = range(0, len(rows), size)
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        # Sharded models talk in each forward pass: all ranks make the same number, some of them for nothing.
        for turn in range(-(-len(starts) // world)):
            self.recorder.alive()
            if turn % LOOK_EACH == LOOK_EACH - 1 and self.boundary.must_leave():
                return self._give_up_evaluation()
            number = turn * world + rank
            start = starts[number] if number < len(starts) else 0
            batch = self.data_collator([rows[row] for row in range(start, min(start + size, len(rows)))])
            tokens = int((batch["labels"][:, 1:] != -100).sum())
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = self.compute_loss(self.model, self._prepare_inputs(batch))
            if number < len(starts):
                sums += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        eval_loss = float(sums[0] / sums[1].clamp(min=1))
        self._metrics["eval"].clear()
        self.recorder.evaluated(self.state.global_step, eval_loss)
        found = {"eval_loss": eval_loss}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def evaluate_what_is_due(self, args: Any, state: Any) -> None:
        """Of a resumed run: the evaluation of the step that it resumes from, where the last attempt had no time."""
        due = args.eval_strategy == "steps" and state.global_step > 0 and state.global_step % args.eval_steps == 0
        if due and self.boundary.anyone(self.recorder.writes and not self.recorder.has_evaluated(state.global_step)):
            self.evaluate()

    def _give_up_evaluation(self) -> dict[str, float]:
        """Told to leave in the middle of it: save what there is; the next attempt evaluates from the start."""
        self._metrics["eval"].clear()
        self.control.should_save = self.state.global_step > 0
        self.control.should_training_stop = True
        return {}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        partial = checkpoint.partial_folder(self.folder.checkpoints, step)
        begun = time.perf_counter()
        self.recorder.event("checkpoint_started", step)
        try:
            # Past TRL's own override, which only adds a model card.
            self.args.output_dir = str(partial)
            super(SFTTrainer, self)._save_checkpoint(model, trial)
            wait_for_all()
            if self.args.should_save:
                strategy, world = self.run.parallel.strategy, self.args.world_size
                checkpoint.write_layout(partial / f"checkpoint-{step}", strategy, world)
                final = checkpoint.commit(partial / f"checkpoint-{step}", self.folder.checkpoints, step)
                shutil.rmtree(partial)
                checkpoint.keep_newest(self.folder.checkpoints, self.run.checkpoint.keep)
                seconds = round(time.perf_counter() - begun, 3)
                self.recorder.event("checkpoint_committed", step, path=str(final), seconds=seconds)
                self.recorder.alive()
            wait_for_all()
            if step < self.args.max_steps and self.boundary.must_leave():
                # Told while it was written: a further step would only have to be written, too.
                self.control.should_training_stop = True
        except Exception as error:
            self.recorder.event("checkpoint_failed", step, why=str(error))
            raise
        finally:
            self.args.output_dir = str(self.folder.checkpoints)
            self.recorder.restart_clock()

    def save_artefact(self, final: Path) -> None:
        """Write the adapter (PEFT layout) or the model (Transformers layout), whole, with the tokenizer. All ranks."""
        partial = final.with_name(f".partial-{final.name}")
        if self.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)
        wait_for_all()
        if self.is_fsdp_enabled:
            self._save(str(partial), state_dict=self._gathered())
        elif self.run.parallel.strategy == "zero3":
            self.save_model(str(partial), _internal_call=True)
        else:
            self._save(str(partial))
        wait_for_all()
        if self.args.should_save:
            # A pickle of paths and options, of no use to anybody.
            (partial / "training_args.bin").unlink(missing_ok=True)
            checkpoint.replace_folder(partial, final)
        wait_for_all()

    def _gathered(self) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        lora = self.run.adapter.kind == "lora"
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=lora)
        state: dict[str, Any] = get_model_state_dict(self.model, options=options)
        # Gathered one by one, tied weights are no longer seen to be one.
        tied = {} if lora else self.model.all_tied_weights_keys
        return {name: tensor for name, tensor in state.items() if name not in tied}


class _Steps(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Joins Trainer's loop with the recorder and the step boundary."""

    def __init__(self, trainer: RunTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self.trainer.run
        # A resumed state brings the intervals of the attempt that saved it.
        state.compute_steps(args, state.max_steps)
        parallel.check_layout(
            run.parallel.strategy, args.world_size, self.trainer.model_wrapped, self.trainer.optimizer
        )
        self.trainer.recorder.begin(state.max_steps, state.global_step)
        self.trainer.evaluate_what_is_due(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        agreed = self.trainer.boundary.agree(self.trainer.step_tokens)
        self.trainer.recorder.step_done(state.global_step, agreed.tokens)
        if agreed.save and args.should_save:
            self.trainer.folder.save_file.unlink(missing_ok=True)
        if (agreed.stop or agreed.notice) and state.global_step < state.max_steps:
            control.should_training_stop = True
        if agreed.notice:
            # Saved first; the next attempt evaluates what is due.
            control.should_evaluate = False
        if agreed.save or agreed.stop or agreed.notice:
            control.should_save = True
        if control.should_save:
            # A line of metrics never spans a checkpoint, from which a later attempt may count anew.
            control.should_log = True

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
    model: Any,
    tokenizer: Any,
    adapter: Any | None,
    train: Any,
    held_out: Any | None,
) -> RunTrainer:
    """The trainer, with the adapter attached. Weights of a new adapter are the same on every rank; later random numbers
    (dropout) differ from rank to rank."""
    trainer = RunTrainer(
        config,
        folder,
        recorder,
        boundary,
        model=model,
        args=args,
        processing_class=tokenizer,
        peft_config=adapter,
        train_dataset=train,
        eval_dataset=held_out,
    )
    set_seed(config.seed + args.process_index)
    return trainer


def wait_for_all() -> None:
    """A barrier, where there are several workers."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _real_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a micro batch that are not padding. Packed rows come without a mask and have none."""
    mask = batch.get("attention_mask")
    return int(batch["input_ids"].numel() if mask is None else mask.sum())
