"""The alternative: a plain PyTorch loop with PEFT on prepared rows. Prints the median seconds of a step.

python plain_torch.py MODEL ROWS MICRO ACCUMULATION STEPS RANK
"""

import json
import statistics
import sys
import time

import torch
from datasets import load_from_disk
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, set_seed


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad a batch on the right."""
    width = max(len(row["input_ids"]) for row in rows)

    def padded(values: list[int], fill: int) -> list[int]:
        return values + [fill] * (width - len(values))

    return {
        "input_ids": torch.tensor([padded(row["input_ids"], 0) for row in rows]),
        "labels": torch.tensor([padded(row["labels"], -100) for row in rows]),
        "attention_mask": torch.tensor([padded([1] * len(row["input_ids"]), 0) for row in rows]),
    }


def main() -> None:
    """Train and report."""
    folder, rows, micro, accumulation, steps, rank = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
    set_seed(42)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    model.train()
    data = load_from_disk(rows)
    batches = iter(DataLoader(data, batch_size=micro, collate_fn=collate, drop_last=True))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4)
    took = []
    for _ in range(steps):
        start = time.perf_counter()
        for _ in range(accumulation):
            loss = model(**next(batches), use_cache=False).loss / accumulation
            loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        took.append(time.perf_counter() - start)
    print(json.dumps({"step_seconds": statistics.median(took[2:])}))


if __name__ == "__main__":
    main()
