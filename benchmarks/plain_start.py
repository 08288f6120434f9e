"""The alternative: a plain TRL script that starts from rows as text, as each start of a plain job does.

python plain_start.py MODEL ROWS LENGTH MICRO RANK

Prints when each part was over, in seconds since the epoch: imports, model, data (read, tokenised, packed), first step.
"""

import json
import sys
import tempfile
import time

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

IMPORTED = time.time()


def main() -> None:
    """Make one step and report."""
    folder, rows, length, micro, rank = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loaded = time.time()
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=load_dataset("json", data_files=rows, split="train"),
            peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets),
            args=SFTConfig(
                output_dir=output,
                max_length=length,
                packing=True,
                per_device_train_batch_size=micro,
                max_steps=1,
                learning_rate=2e-4,
                bf16=False,
                use_cpu=True,
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=42,
            ),
        )
        prepared = time.time()
        trainer.train()
        stepped = time.time()
    print(json.dumps({"imports": IMPORTED, "model": loaded, "data": prepared, "first step": stepped}))


if __name__ == "__main__":
    main()
