"""The plots of a sweep as Plotly takes them, colours of text and grid left to the page.

Plotly reads marks of HTML in texts: every name from outside goes through `label`."""

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

from launcher.report import one_line
from sweeps import words
from sweeps.curves import curves
from sweeps.importance import Importance
from sweeps.ranking import Objective
from sweeps.table import Table
from sweeps.trials import Trial

Figure = dict[str, Any]
COLOURS = {"completed": "#2a9d6f", "running": "#2f7de1", "pruned": "#d69a1d", "failed": "#d6453d", "lost": "#d6453d"}
"""Colour of a state; any other is grey."""
GREY = "#8a8f98"
_SCALE = ("#3b4cc0", "#2f8fc4", "#2bb07f", "#b9b52d", "#e8662b")
"""From the best to the worst; far enough from white and from black to be seen on both."""
MOST_CURVES = 40
"""Trials whose curves are drawn: the best ones; the page says where there are more."""
_WIDE = 20.0
"""Ratio of largest to smallest value above which an axis is logarithmic."""


def label(text: Any) -> str:
    """Text that Plotly shows as it is."""
    return html.escape(one_line(str(text)))


def colour(share: float) -> str:
    """A colour between best (0) and worst (1)."""
    place = min(max(share, 0.0), 1.0) * (len(_SCALE) - 1)
    left = min(int(place), len(_SCALE) - 2)
    low, high = (tuple(int(_SCALE[at][k : k + 2], 16) for k in (1, 3, 5)) for at in (left, left + 1))
    mixed = (round(a + (b - a) * (place - left)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{each:02x}" for each in mixed)


def by_rank(table: Table, most: int, wanted: Sequence[str] = ()) -> list[tuple[Trial, float | None]]:
    """At most so many trials that have all wanted metrics, the best configuration's first, with the place of their
    configuration among them from 0 (best) to 1; None: not ranked."""
    found = [
        (trial, each.rank)
        for each in table.configurations
        for trial in each.trials
        if all(trial.metrics[name] is not None for name in wanted)
    ][:most]
    last = max((rank for _, rank in found if rank is not None), default=1)
    return [(trial, None if rank is None else (rank - 1) / max(last - 1, 1)) for trial, rank in found]


def described(trial: Trial) -> str:
    """A trial's values in a line."""
    return label(
        f"{trial.number}: " + ", ".join(f"{name}={words.value(value)}" for name, value in trial.values.items())
    )


def learning_curves(table: Table, name: str, title: str) -> Figure | None:
    """Curves over steps of the best trials, coloured by rank; None where nothing has been recorded."""
    traces = []
    for trial, place in by_rank(table, MOST_CURVES):
        points = curves(trial.folder, 200)[name]
        if points:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(points) < 30 else "lines",
                    "name": described(trial),
                    "x": [step for step, _ in points],
                    "y": [value for _, value in points],
                    "line": {"width": 1.6, "color": GREY if place is None else colour(place)},
                    "marker": {"size": 5},
                    "hovertemplate": "step %{x}: %{y:.4f}",
                }
            )
    if not traces:
        return None
    traces.reverse()  # the best is drawn last, on top
    return {"data": traces, "layout": _layout("step", title, legend=False)}


def against_hours(table: Table, goal: Objective) -> Figure | None:
    """A metric against what each trial has held, coloured by state."""
    return _scatter(table, lambda trial: trial.gpu_hours, "GPU-hours of a trial", goal)


def against(table: Table, first: Objective, second: Objective) -> Figure | None:
    """One objective against another, coloured by state."""
    return _scatter(table, lambda trial: trial.metrics[first.metric], _title(first), second)


def _scatter(table: Table, across: Callable[[Trial], float | None], title: str, goal: Objective) -> Figure | None:
    states: dict[str, list[tuple[float, float, str]]] = {}
    for trial in table.trials:
        x, y = across(trial), trial.metrics[goal.metric]
        if x is not None and y is not None:
            states.setdefault(trial.state, []).append((x, y, described(trial)))
    if not states:
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": label(state),
            "x": [x for x, _, _ in points],
            "y": [y for _, y, _ in points],
            "text": [text for _, _, text in points],
            "marker": {"size": 9, "color": COLOURS.get(state, GREY), "opacity": 0.85},
            "hovertemplate": "%{text}<br>%{x:.4g}: %{y:.4f}<extra></extra>",
        }
        for state, points in states.items()
    ]
    return {"data": traces, "layout": _layout(title, _title(goal), legend=len(states) > 1)}


def _title(goal: Objective) -> str:
    return label(f"{goal.metric} ({'less' if goal.direction == 'minimize' else 'more'} is better)")


def importances(found: Importance) -> Figure:
    """Shares as bars, the largest on top."""
    names = list(found.shares)[::-1]
    shares = [found.shares[name] for name in names]
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": [label(name) for name in names],
        "text": [f"{share:.0%}" for share in shares],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "#2f7de1"},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    layout = _layout("share", "", legend=False)
    layout["xaxis"] |= {"range": [0, 1.08 * max([*shares, 0.05])], "tickformat": ".0%"}
    layout["yaxis"] |= {"automargin": True, "type": "category"}
    return {"data": [bar], "layout": layout | {"height": 120 + 34 * len(names)}}


def _layout(x: str, y: str, *, legend: bool) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}, "automargin": True},
        "yaxis": {"title": {"text": y}, "automargin": True},
        "showlegend": legend,
        "legend": {"orientation": "h", "y": 1.12},
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
        "height": 360,
        "hovermode": "closest",
    }


def positions(values: Sequence[Any]) -> tuple[list[float | None], list[tuple[float, str]]]:
    """Where values lie on an upright axis from 0 to 1, and its ticks; None has no place.

    Numbers lie to scale, logarithmic over a wide range; anything else at even distances in order of appearance."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        wide = min(present) > 0 and max(present) / min(present) > _WIDE
        scaled = [None if value is None else math.log(value) if wide else float(value) for value in values]
        known = [value for value in scaled if value is not None]
        low, span = min(known), (max(known) - min(known)) or 1.0
        places = [None if value is None else (value - low) / span for value in scaled]
        pairs = {place: words.value(value) for place, value in zip(places, values, strict=True) if place is not None}
        return places, _apart(sorted(pairs.items()))
    kinds = list(dict.fromkeys(words.value(value) for value in values))
    step = 1 / max(len(kinds) - 1, 1)
    return [kinds.index(words.value(value)) * step for value in values], _apart(
        [(at * step, kind) for at, kind in enumerate(kinds)]
    )


def _apart(ticks: list[tuple[float, str]], least: float = 0.06) -> list[tuple[float, str]]:
    """Ticks that do not overlap: first and last, and between them those that have room."""
    if len(ticks) < 3:
        return ticks
    kept = [ticks[0]]
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] >= least and ticks[-1][0] - tick[0] >= least:
            kept.append(tick)
    return [*kept, ticks[-1]]
