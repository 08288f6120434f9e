"""One self-contained HTML page: Plotly's script, styles and data stand in it, and it may not load anything."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from conf.folder import now, write_whole
from launcher.report import one_line
from sweeps.figures import Figure

PAGES = Path(__file__).with_name("pages")


def write(path: Path, template: str, title: str, figures: dict[str, Figure | None], context: dict[str, Any]) -> None:
    """Write a page whole. Everything in `context` is text: whatever it holds, it cannot become markup.

    Raises OSError where the folder cannot be written."""
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    text = _environment().get_template(template).render(
        context, title=one_line(title), figures=drawn, made=now()[:16].replace("T", " ") + " UTC",
        version=_version(), css=_own("page.css"), js=_own("page.js"), plotly=_plotly() if drawn else "",
    )  # fmt: skip
    write_whole(path, text)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _own(name: str) -> Markup:
    return Markup((PAGES / name).read_text(encoding="utf-8"))


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _version() -> str:
    try:
        return version("slurmwright")
    except PackageNotFoundError:
        return ""
