"""The alternative: a plain TRL script on prepared rows. Prints the median seconds of a step and of its phases.

python plain_trl.py MODEL ROWS MICRO ACCUMULATION STEPS RANK
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
from typing import Any

BEGAN = time.perf_counter()

import torch  # noqa: E402  (the start of the imports is measured)
from datasets import load_from_disk  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

IMPORTED = time.perf_counter()


class StepTimes(TrainerCallback):  # type: ignore[misc]
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.ended.append(time.perf_counter())


def main() -> None:
    """Train and report."""
    folder, rows, micro, accumulation, steps, rank = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
    times = StepTimes()
    with tempfile.TemporaryDirectory() as output:
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(folder),
            train_dataset=load_from_disk(rows),
            peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets),
            callbacks=[times],
            args=SFTConfig(
                output_dir=output,
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=accumulation,
                max_steps=steps,
                learning_rate=2e-4,
                bf16=False,
                use_cpu=True,
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=42,
                train_sampling_strategy="sequential",
            ),
        )
        trainer.train()
    # From end to end, so that what happens between steps counts.
    took = [after - before for before, after in itertools.pairwise(times.ended)]
    print(
        json.dumps(
            {
                "step_seconds": statistics.median(took[1:]),
                "imports": IMPORTED - BEGAN,
                "to_first_step": times.ended[0] - BEGAN,
            }
        )
    )


if __name__ == "__main__":
    main()
