"""Parallel coordinates: one upright axis for each varied parameter and each objective, one line a trial.

Drawn as plain lines: Plotly's own kind needs WebGL, which browsers over a remote desktop often lack."""

from typing import Any

from sweeps import words
from sweeps.figures import GREY, Figure, by_rank, colour, described, label, positions
from sweeps.table import Table

MOST_LINES = 150
"""Trials that are drawn: the best ones."""


def parallel_coordinates(table: Table) -> Figure | None:
    """The figure; None where fewer than two trials have a number or nothing is varied."""
    names = [goal.metric for goal in table.objectives]
    lines = by_rank(table, MOST_LINES, names)
    if len(lines) < 2 or not table.parameters:
        return None
    axes: list[tuple[str, list[Any]]] = [
        *((name, [trial.values.get(name) for trial, _ in lines]) for name in table.parameters),
        *((name, [trial.metrics[name] for trial, _ in lines]) for name in names),
    ]
    placed = [(name, values, *positions(values)) for name, values in axes]
    traces = []
    for index, (trial, place) in enumerate(lines):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": described(trial),
                "x": list(range(len(placed))),
                "y": [places[index] for _, _, places, _ in placed],
                "text": [label(f"{name} = {words.value(values[index])}") for name, values, _, _ in placed],
                "line": {"width": 1.6, "color": GREY if place is None else colour(place)},
                "marker": {"size": 5},
                "opacity": 0.85,
                "connectgaps": True,
                "hovertemplate": "%{text}",
            }
        )
    traces.reverse()  # the best is drawn last, on top
    return {"data": traces, "layout": _layout([(name, ticks) for name, _, _, ticks in placed])}


def _layout(axes: list[tuple[str, list[tuple[float, str]]]]) -> dict[str, Any]:
    notes = [
        {
            "x": index,
            "y": place,
            "text": label(text),
            "showarrow": False,
            "xanchor": "right",
            "xshift": -7,
            "font": {"size": 11},
        }
        for index, (_, ticks) in enumerate(axes)
        for place, text in ticks
    ]
    lines = [
        {
            "type": "line",
            "x0": index,
            "x1": index,
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "line": {"width": 1, "color": GREY},
        }
        for index in range(len(axes))
    ]
    return {
        "xaxis": {
            "tickvals": list(range(len(axes))),
            "ticktext": [label(name) for name, _ in axes],
            "side": "top",
            "range": [-0.35, len(axes) - 0.85],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        "yaxis": {"visible": False, "range": [-0.06, 1.06], "fixedrange": True},
        "annotations": notes,
        "shapes": lines,
        "showlegend": False,
        "margin": {"l": 40, "r": 40, "t": 50, "b": 20},
        "height": 420,
        "hovermode": "closest",
    }
