"""Where curves go beside metrics.jsonl: TensorBoard, Weights & Biases or MLflow. Rank 0 alone has one.

metrics.jsonl is the record: a service that is missing or fails costs one line in the log, never the run. Tokens come
from the environment (WANDB_API_KEY, MLFLOW_TRACKING_TOKEN) and are written nowhere."""

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from conf.folder import RunFolder, read_json, write_json
from conf.schema.run import RunConfig

_AT_HOME = ("site", "run", "store", "tracking")
"""Groups of the config that tell a service nothing but how a site is built."""
PROJECT = "slurmwright"
"""Project or experiment where none is named."""

log = logging.getLogger("trainer")


class Tracker(Protocol):
    """One place for curves."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of the named curves.

        Steps that a crash undid come again when they are made again, with the very same numbers."""

    def close(self) -> None:
        """The attempt ends well."""


def start(config: RunConfig, folder: RunFolder, attempt: int, step: int) -> Tracker | None:
    """The tracker of an attempt that goes on after `step`; None where none is asked for, or it cannot be had."""
    name = config.tracking.name
    if name == "none":
        return None
    package, pip, opens = _TRACKERS[name]
    if importlib.util.find_spec(package) is None:
        log.warning("tracking=%s: not installed here (pip install %s); curves lie in metrics.jsonl alone", name, pip)
        return None
    try:
        return _Careful(name, opens(config, folder, attempt, step))
    except Exception as error:
        _warn(name, error)
        return None


def _warn(name: str, error: Exception) -> None:
    said = " ".join(str(error).split())[:300]
    log.warning(
        "tracking=%s failed, curves lie in metrics.jsonl alone from here: %s: %s", name, type(error).__name__, said
    )


class _Careful:
    """Stops at the first failure, and says it."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.tracker: Tracker | None = tracker

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._do("scalars", step, values)

    def close(self) -> None:
        self._do("close")

    def _do(self, what: str, *values: Any) -> None:
        if self.tracker is None:
            return
        try:
            getattr(self.tracker, what)(*values)
        except Exception as error:
            self.tracker = None
            _warn(self.name, error)


class TensorBoard:
    """One event file an attempt; what a killed attempt has written past `step` is hidden from the curves."""

    def __init__(self, config: RunConfig, folder: RunFolder, attempt: int, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.board: Any = SummaryWriter(str(folder.tensorboard), purge_step=step + 1, filename_suffix=f".{attempt:04d}")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is held back."""
        self.board.close()


class WeightsAndBiases:
    """One W&B run over all attempts, by the run's id. Offline it is a file an attempt, for `wandb sync`.

    Its own process writes late, and what it has not written dies with a killed worker: better a step twice than never.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, attempt: int, step: int) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        tracking = config.tracking
        folder.tracking.mkdir(exist_ok=True)
        # No console text, code, patches, machine facts or links: the run folder has them, or nobody asked.
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            init_timeout=60,
            save_code=False,
            silent=True,
            symlink=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self.run: Any = wandb.init(
            project=tracking.project or PROJECT,
            entity=tracking.entity,
            id=folder.id,
            name=tracking.label or folder.id,
            resume="allow",
            mode="offline" if config.offline else tracking.mode,
            dir=str(folder.tracking),
            config={name: value for name, value in config.dump().items() if name not in _AT_HOME},
            settings=settings,
        )
        # W&B's own count of steps never goes back, as ours does when a crash undoes some.
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        self.run.log({"step": step, **values})

    def close(self) -> None:
        """Send or write what is held back, and mark the run as finished."""
        import wandb

        self.run.finish(exit_code=0)
        # Its own process may still be writing.
        wandb.teardown(exit_code=0)


class Mlflow:
    """One MLflow run over all attempts; its id lies in the run folder.

    MLflow would keep both points of a step that is made again, so it is asked what it has: metrics.jsonl may know a
    step whose point died with a killed worker."""

    def __init__(self, config: RunConfig, folder: RunFolder, attempt: int, step: int) -> None:
        environment = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # A server that does not answer must not hold up the devices.
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            # Files need no server and no database on a shared file system; mlflow 3.7 and later ask for this.
            "MLFLOW_ALLOW_FILE_STORE": "true",
        }
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self.metric = Metric
        tracking = config.tracking
        folder.tracking.mkdir(exist_ok=True)
        local = (folder.tracking / "mlruns").as_uri()
        elsewhere = None if config.offline else os.environ.get("MLFLOW_TRACKING_URI")
        address = tracking.url or elsewhere or local
        self.client: Any = MlflowClient(address)
        kept = folder.tracking / "mlflow.json"
        self.shown: dict[str, int] = {}
        self.id: str | None = read_json(kept).get("run_id")
        if self.id is not None:
            self.client.update_run(self.id, status="RUNNING")
            # The public field has the last values without their steps, and whole histories would be long.
            self.shown = {last.key: last.step for last in self.client.get_run(self.id).data._metric_objs}
            return
        experiment = tracking.project or PROJECT
        found = self.client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self.client.create_experiment(experiment)
        made = self.client.create_run(number, run_name=tracking.label or folder.id, tags={"slurmwright.run": folder.id})
        self.id = made.info.run_id
        for name, value in _facts(config).items():
            self.client.log_param(self.id, name, value)
        write_json(kept, {"run_id": self.id})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        present = int(time.time() * 1000)
        new = {name: value for name, value in values.items() if step > self.shown.get(name, -1)}
        if new:
            self.client.log_batch(
                self.id, metrics=[self.metric(name, value, present, step) for name, value in new.items()]
            )

    def close(self) -> None:
        """Mark the run as finished."""
        self.client.set_terminated(self.id, "FINISHED")


def _facts(config: RunConfig) -> dict[str, Any]:
    """What tells runs apart in a table; the whole config lies in the run folder."""
    return {
        "model": config.model.id,
        "adapter": config.adapter.name,
        "data": config.data.name,
        "method": config.method.name,
        "learning_rate": config.method.learning_rate,
        "optimizer": config.method.optimizer,
        "schedule": config.method.schedule,
        "global_batch": config.batch.global_,
        "max_length": config.data.max_length,
        "seed": config.seed,
    }


_TRACKERS: dict[str, tuple[str, str, Callable[[RunConfig, RunFolder, int, int], Tracker]]] = {
    "tensorboard": ("tensorboard", "tensorboard", TensorBoard),
    "wandb": ("wandb", "wandb", WeightsAndBiases),
    "mlflow": ("mlflow", "mlflow-skinny", Mlflow),
}
"""What is imported for a service, what pip calls it, and its tracker."""
