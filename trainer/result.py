"""result.json of a run that ended by its own will: what came of it, over all attempts."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from conf.folder import RunFolder, write_json
from trainer.checkpoint import name_of
from trainer.resume import Best


@dataclass(frozen=True)
class Totals:
    """Sums over the steps that led to the present state; steps that a crash undid are left out."""

    train_loss: float | None
    """Mean loss of all steps, in nats a trained token; None where nothing was recorded."""
    seconds: float
    """Time of all steps, without evaluation and checkpoints."""
    tokens: int
    """Non-padding tokens of all steps over all workers."""
    spent: float = 0.0
    """Time of all steps ever made, those that a crash undid too."""


def totals(lines: list[dict[str, Any]]) -> Totals:
    """Sum up the lines of metrics.jsonl. A line stands for every step since the line before it."""
    path: list[dict[str, Any]] = []
    spent = 0.0
    for line in lines:
        if "loss" not in line:
            continue
        while path and path[-1]["step"] >= line["step"]:
            path.pop()
        spent += (line["step"] - (path[-1]["step"] if path else 0)) * line["seconds"]
        path.append(line)
    previous, loss, counted, seconds, tokens = 0, 0.0, 0, 0.0, 0.0
    for line in path:
        steps = line["step"] - previous
        previous = line["step"]
        seconds += steps * line["seconds"]
        tokens += steps * line["tokens"]
        if line["loss"] is not None:
            loss += steps * line["loss"]
            counted += steps
    return Totals(loss / counted if counted else None, seconds, round(tokens), spent)


def write_result(
    folder: RunFolder,
    status: Literal["completed", "stopped", "pruned"],
    step: int,
    trainable_parameters: int,
    artefact: Literal["adapter", "model"] | None,
    best: Best | None = None,
) -> dict[str, Any]:
    """Write result.json from the run's own records, and of the `best` checkpoint. Returns what was written."""
    sums = totals(folder.metrics())
    events = folder.events()
    stalls = [line["stall"] for line in events if line["event"] == "checkpoint_committed" and "stall" in line]
    evaluated = [line for line in events if line["event"] == "evaluated"]
    before = next((line["eval_loss"] for line in evaluated if line["step"] == 0), None)
    after = evaluated[-1]["eval_loss"] if evaluated and evaluated[-1]["step"] > 0 else None
    result: dict[str, Any] = {
        "status": status,
        "cause": status,
        "step": step,
        "train_loss": sums.train_loss,
        "eval_loss_before": before,
        "eval_loss": after,
        "metrics": {},
        "seconds": round(sums.seconds, 3),
        "tokens": sums.tokens,
        "tokens_per_second": round(sums.tokens / sums.seconds, 3) if sums.seconds else None,
        "checkpoints": {"count": len(stalls), "stall_seconds": round(sum(stalls), 3)},
        "trainable_parameters": trainable_parameters,
        "artefact": artefact,
        "attempts": len(folder.attempt_numbers()),
    }
    if best is not None:
        path = folder.checkpoints / name_of(best.step)
        result["best"] = {**asdict(best), "path": str(path) if path.is_dir() else None}
    write_json(folder.result_file, result)
    return result
