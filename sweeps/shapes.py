"""The shape of a trial's job: all that stands in its batch script but its name. Trials of one shape share an array."""

import json
from dataclasses import dataclass, field

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from launcher.slurm.executor import CommandExecutor
from launcher.slurm.flags import Flag, flags
from launcher.slurm.script import arguments, launch_line, setup_lines
from launcher.slurm.submit import dependencies

_OPERATIONAL = {"site", "cluster", "gpu", "limits", "store", "after", "parallel"}
"""What a batch script is made from."""


@dataclass(frozen=True)
class Shape:
    """What is asked of Slurm for each trial of an array."""

    config: RunConfig
    """Config of one of them."""
    asked: dict[str, Flag]
    """Flags of sbatch but the job's name."""

    def script(self, folder: RunFolder, name: str, verb: str = "agent") -> str:
        """The text of the batch script of an array of this name."""
        setup = setup_lines(self.config, verb, array=True)
        return CommandExecutor(folder, {"job-name": name} | self.asked, setup).text(
            launch_line(self.config, verb, array=True)
        )

    def arguments(self) -> list[str]:
        """Python on the compute nodes, and the store."""
        return arguments(self.config, RunFolder("run"))[1:]

    def dependency(self) -> str | None:
        """What each trial waits for, as sbatch reads it. Raises InputError where `after` names what cannot be waited
        for."""
        return dependencies(self.config) or self.config.site.dependency


@dataclass
class Shapes:
    """The shapes of a sweep in the order in which they were met."""

    found: list[Shape] = field(default_factory=list)
    _known: dict[str, int] = field(default_factory=dict)
    _texts: dict[str, int] = field(default_factory=dict)

    def index(self, config: RunConfig) -> int:
        """The number of a config's shape, counted from 0."""
        key = config.model_dump_json(include=_OPERATIONAL)
        if key not in self._known:
            asked = {name: value for name, value in flags(config, "").items() if name != "job-name"}
            shape = Shape(config, asked)
            text = json.dumps([shape.script(RunFolder("run"), "name"), shape.arguments(), config.after])
            if text not in self._texts:
                self._texts[text] = len(self.found)
                self.found.append(shape)
            self._known[key] = self._texts[text]
        return self._known[key]
