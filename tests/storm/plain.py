"""The alternative: a plain TRL script on the same prepared rows, which saves now and then and resumes where it can.

python plain.py MODEL ROWS OUTPUT STEPS INTERVAL, one process a rank, with torch's variables for the process group."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from datasets import load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer


class Lines(TrainerCallback):  # type: ignore[misc]
    """A line a step, as the storm's clock reads them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.mark = time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.mark = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.is_world_process_zero:
            line = {"step": state.global_step, "loss": 0.0, "seconds": time.perf_counter() - self.mark}
            with self.file.open("a") as file:
                file.write(json.dumps(line) + "\n")


def main() -> None:
    """Train to the end, from the last checkpoint where there is one."""
    model, rows, output, steps, interval = sys.argv[1], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:6])
    with (output / "starts").open("a") as file:
        file.write(f"{os.environ.get('SLURM_RESTART_COUNT', 0)}\n")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        processing_class=AutoTokenizer.from_pretrained(model),
        train_dataset=load_from_disk(rows),
        callbacks=[Lines(output / "metrics.jsonl")],
        args=SFTConfig(
            output_dir=str(output / "checkpoints"),
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_steps=steps,
            learning_rate=1e-3,
            bf16=False,
            use_cpu=True,
            ddp_backend="gloo",
            gradient_checkpointing=False,
            logging_steps=1,
            save_steps=interval,
            save_total_limit=3,
            report_to=[],
            disable_tqdm=True,
            seed=42,
        ),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output / "checkpoints")) if _any(output) else None)
    if trainer.is_world_process_zero():
        (output / "done").touch()


def _any(output: Path) -> bool:
    return (output / "checkpoints").is_dir()


if __name__ == "__main__":
    main()
