"""The page of one run: RUN/report.html, with its curves, attempts, plan, config and checkpoints."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from conf.folder import RunFolder, read_json
from launcher.report import human, one_line
from launcher.status import describe
from sweeps import page, words
from sweeps.cost import attempts
from sweeps.curves import curves
from sweeps.figures import COLOURS, Figure, label

PAGE = "report.html"
_SECONDS = 3600.0


def write(folder: RunFolder) -> Path:
    """Write a run's page; gives it. Whatever state the run is in, the page says it.

    Raises OSError where the folder cannot be written."""
    (row,), complaint = describe([folder], finished=True)
    held = attempts(folder, row["status"] == "running")
    page.write(
        folder.path / PAGE, "run.html.j2", folder.id, _plots(folder, held), _context(folder, row, held, complaint)
    )
    return folder.path / PAGE


def _plots(folder: RunFolder, held: Sequence[dict[str, Any]]) -> dict[str, Figure | None]:
    found = curves(folder)
    both = [("training", found["loss"], "#2f7de1"), ("held-out", found["eval_loss"], "#e8662b")]
    return {
        "loss": _lines([each for each in both if each[1]], "loss", height=380),
        "learning_rate": _lines([("learning rate", found["learning_rate"], "#2bb07f")], "learning rate"),
        "grad_norm": _lines([("gradient norm", found["grad_norm"], "#b07cc6")], "gradient norm", whole=True),
        "seconds": _lines([("time", found["seconds"], "#d69a1d")], "seconds", whole=True),
        "timeline": _timeline(held),
    }


def _lines(
    named: list[tuple[str, list[tuple[int, float]], str]], title: str, height: int = 280, whole: bool = False
) -> Figure | None:
    if not any(points for _, points, _ in named):
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(points) < 30 else "lines",
            "name": name,
            "x": [step for step, _ in points],
            "y": [value for _, value in points],
            "line": {"width": 1.8, "color": colour},
            "marker": {"size": 5},
            "hovertemplate": "step %{x}: %{y:.5g}",
        }
        for name, points, colour in named
    ]
    layout = {
        "xaxis": {"title": {"text": "step"}, "automargin": True},
        "yaxis": {"title": {"text": title}, "automargin": True, "rangemode": "tozero" if whole else "normal"},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "y": 1.12},
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
        "height": height,
        "hovermode": "x unified",
    }
    return {"data": traces, "layout": layout}


def _timeline(held: Sequence[dict[str, Any]]) -> Figure | None:
    """A bar an attempt, from its start to its end, coloured by cause."""
    bars = [each for each in held if each.get("started") and each["until"]]
    if not bars:
        return None
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [f"attempt {each['attempt']}" for each in bars],
        "base": [_clock(each["started"]) for each in bars],
        "x": [_duration(each) * 1000 for each in bars],  # milliseconds, as an axis of dates counts
        "text": [label(_cause(each)) for each in bars],
        "textposition": "auto",
        "width": 0.6,
        "marker": {"color": [_colour(each.get("cause")) for each in bars]},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    layout = {
        "xaxis": {"type": "date", "automargin": True},
        "yaxis": {"automargin": True, "autorange": "reversed", "type": "category"},
        "showlegend": False,
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
        "height": max(280, 90 + 26 * len(bars)),
    }
    return {"data": [trace], "layout": layout}


def _context(
    folder: RunFolder, row: dict[str, Any], held: Sequence[dict[str, Any]], complaint: str | None
) -> dict[str, Any]:
    plan = read_json(folder.plan_file)
    kept = (
        yaml.load(folder.overrides_file.read_bytes(), Loader=yaml.CSafeLoader) if folder.overrides_file.exists() else []
    )
    return {
        "status": row["status"],
        "message": one_line(row["message"].partition("\n")[0]),
        "complaint": words.first(complaint),
        "tiles": _tiles(row, held),
        "attempts": [_attempt(each) for each in held],
        "plan": _compared(folder, plan, row, held),
        "warnings": [one_line(each["message"]) for each in plan.get("warnings", [])],
        "files": [*_checkpoints(folder), *_weights(folder)],
        "command": one_line(shlex.join(["python", "-m", "launcher", *map(str, kept or [])])),
        "config": folder.config_file.read_text(encoding="utf-8", errors="replace"),
    }


def _tiles(row: dict[str, Any], held: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    steps = f"{row['step']} of {row['steps']}" if row["steps"] else str(row["step"])
    tiles = [("step", steps)]
    for name in ("eval_loss", "train_loss", "tokens_per_second"):
        if row[name] is not None:
            tiles.append((name, words.measured(row[name])))
    tiles.append(("GPU-hours held", words.hours(sum(each["gpu_hours"] for each in held))))
    return [*tiles, ("attempts", str(len(held)))]


def _attempt(each: dict[str, Any]) -> dict[str, Any]:
    nodes = each.get("nodes", [])
    shown = ", ".join(nodes[:4]) + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else "")
    message = (each.get("message") or "").partition("\n")[0]
    return {
        "number": each["attempt"],
        "href": f"attempts/{each['attempt']:04d}/",
        "job": each.get("job_id") or "",
        "nodes": one_line(shown),
        "started": _clock(each.get("started") or ""),
        "hours": words.hours(_duration(each) / _SECONDS),
        "gpu_hours": words.hours(each["gpu_hours"]),
        "end": one_line(": ".join(part for part in (_cause(each), message) if part)),
    }


def _colour(cause: str | None) -> str:
    """Green, blue and amber for what is as it should be, and for what costs nothing but time; red for the rest."""
    if cause in ("preempted", "time_limit", "cancelled", "stopped", "pruned"):
        return COLOURS["pruned"]
    return COLOURS.get(cause or "running", COLOURS["failed"])


def _cause(each: dict[str, Any]) -> str:
    return str(each.get("cause") or ("running" if not each.get("ended") else "unknown")).replace("_", " ")


def _clock(time: str) -> str:
    """A time of ISO 8601 without its zone, which is UTC in all that a run folder holds."""
    return time[:19].replace("T", " ")


def _duration(each: dict[str, Any]) -> float:
    """Seconds from an attempt's start to its end."""
    if not each.get("started") or not each["until"]:
        return 0.0
    first, last = (datetime.fromisoformat(time) for time in (each["started"], each["until"]))
    return max((last - first).total_seconds(), 0.0)


def _compared(
    folder: RunFolder, plan: dict[str, Any], row: dict[str, Any], held: Sequence[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """What was planned beside what came of it; a line where at least one of both is known."""
    result = folder.result()
    sizes, batch, time = plan.get("sizes", {}), plan.get("batch", {}), plan.get("time", {})
    started: dict[str, Any] = next(
        (event for event in reversed(folder.events()) if event.get("event") == "started"), {}
    )
    lines = [
        ("workers", plan.get("world_size"), started.get("world_size")),
        ("sequences a step", batch.get("global"), None),
        ("parameters", _human(sizes.get("parameters")), None),
        ("trained parameters", _human(sizes.get("trainable_parameters")), _human(result.get("trainable_parameters"))),
        ("steps", row["steps"], row["step"]),
        ("hours", _hours(time.get("hours")), _hours(sum(map(_duration, held)) / _SECONDS)),
        ("GPU-hours", _hours(time.get("gpu_hours")), _hours(sum(each["gpu_hours"] for each in held))),
        ("memory of a device, GiB", words.measured(plan.get("memory", {}).get("peak_gib")), None),
    ]
    told = [(name, "" if a is None else str(a), "" if b is None else str(b)) for name, a, b in lines]
    return [line for line in told if line[1] or line[2]]


def _human(count: int | None) -> str | None:
    return None if count is None else human(count)


def _hours(given: float | None) -> str | None:
    return None if given is None else words.hours(given)


def _checkpoints(folder: RunFolder) -> list[dict[str, str]]:
    if not folder.checkpoints.is_dir():
        return []
    names = sorted(each.name for each in folder.checkpoints.iterdir() if each.name.startswith("step-"))
    return [
        {"name": name, "href": f"checkpoints/{quote(name)}/", "says": f"checkpoint after step {_step(name)}"}
        for name in names
    ]


def _step(name: str) -> str:
    return name.removeprefix("step-").lstrip("0") or "0"


def _weights(folder: RunFolder) -> list[dict[str, str]]:
    says = {"adapter": "the adapter, in PEFT's layout", "model": "the whole model, in Transformers' layout"}
    return [
        {"name": name, "href": f"{name}/", "says": text} for name, text in says.items() if (folder.path / name).is_dir()
    ]
