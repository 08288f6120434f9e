"""Rules of trackers: options that belong to another one, and what an offline run may not reach."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from conf.schema.rules.reading import is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_SERVICES = ("wandb", "mlflow")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "tracking.project": _SERVICES, "tracking.entity": ("wandb",), "tracking.label": _SERVICES,
    "tracking.mode": ("wandb",), "tracking.url": ("mlflow",),
}  # fmt: skip
"""Options and the trackers that have them."""


@rule(
    "tracking-unused",
    reads=("tracking.name", *_OPTIONS),
    reason="each tracker has options of its own",
    fix="leave the option out, or choose the tracker that it belongs to",
    warning=True,
)
def tracking_unused(config: RunConfig) -> Iterator[Finding]:
    for path, trackers in _OPTIONS.items():
        if is_set(config, path) and config.tracking.name not in trackers:
            yield (
                path,
                f"{spelled(path, value_at(config, path))} has no effect with tracking={config.tracking.name}: use "
                f"tracking={trackers[0]}, or leave it out",
            )


@rule(
    "tracking-offline",
    reads=("offline", "tracking.name", "tracking.mode"),
    reason="an offline run sends nothing",
    fix="use tracking.mode=offline and `wandb sync` later",
    fails="wandb waits for its server and retries, and the nodes of an air-gapped site have no way to it",
)
def tracking_offline(config: RunConfig) -> Iterator[Finding]:
    if config.offline and config.tracking.name == "wandb" and config.tracking.mode == "online":
        yield "tracking.mode", "tracking.mode=online contradicts offline=true: use tracking.mode=offline"


@rule(
    "tracking-url-offline",
    reads=("offline", "tracking.name", "tracking.url"),
    reason="an offline run sends nothing",
    fix="leave tracking.url out; MLflow then writes files into the run folder",
    fails="mlflow raises MlflowException: API request failed with exception Max retries exceeded",
)
def tracking_url_offline(config: RunConfig) -> Iterator[Finding]:
    url = config.tracking.url
    if config.offline and config.tracking.name == "mlflow" and url is not None and is_remote(url):
        yield "tracking.url", f"tracking.url={url} contradicts offline=true: leave it out, or name a folder"


def is_remote(url: str) -> bool:
    """Whether an address is a server's, not a file's."""
    try:
        return urlsplit(url).scheme in ("http", "https", "databricks", "postgresql", "mysql", "mssql")
    except ValueError:
        return False


@rule(
    "tracking-interval",
    reads=("tracking.interval", "method.max_steps"),
    reason="an interval that is longer than the run never comes",
    fix="use a smaller tracking.interval",
    warning=True,
)
def tracking_interval(config: RunConfig) -> Iterator[Finding]:
    every, steps = config.tracking.interval, config.method.max_steps
    if steps is not None and every > 1 and every >= steps:
        yield (
            "tracking.interval",
            f"tracking.interval={every} does not come within method.max_steps={steps}, so that there would be no "
            f"curve: use tracking.interval={max(1, steps // 10)}",
        )
