"""The one subclass of submitit's SlurmExecutor: submitit writes the sbatch text and knows the job, nothing is pickled.

submitit's own way of submitting pickles a function, calls sbatch without a time limit, and needs srun on the PATH even
to write a text. Here a plain command is submitted, so that no code of submitit runs on a compute node.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from submitit import SlurmExecutor, SlurmJob

from conf.folder import RunFolder, write_whole
from launcher.environment import for_submission
from launcher.slurm.flags import Flag
from launcher.slurm.sbatch import read_job_id, submit_once

_OUTPUT = "#SBATCH --output="
_SIGNAL = "#SBATCH --signal=USR2@90"
_MARK = "export SUBMITIT_EXECUTOR=slurm\n"
"""Lines that submitit 1.5 always writes. Nothing of ours waits for that signal, which kills what does not catch it; the
output's place is given on the command line; and nothing of submitit runs in the job."""


class CommandExecutor(SlurmExecutor):  # type: ignore[misc]
    """Submits the plain command of one run."""

    def __init__(self, run: RunFolder, flags: Mapping[str, Flag], setup: list[str], places: Sequence[str] = ()) -> None:
        """`flags` stand in the script, `places` on sbatch's command line: further flags, script, its arguments."""
        super().__init__(run.path)
        self.run, self.flags, self.places = run, flags, list(places)
        known = {name: name.replace("-", "_") for name in flags if name.replace("-", "_") in self._valid_parameters()}
        self.update_parameters(
            setup=setup,
            use_srun=False,  # the command holds its own srun: submitit's would quote what the shell must fill in
            stderr_to_stdout=True,
            **{"wckey": None} | {known[name]: escape(flags[name]) for name in known},
            additional_parameters={name: escape(value) for name, value in flags.items() if name not in known},
        )

    @classmethod
    def affinity(cls) -> int:
        """Usable everywhere: a text can be written without Slurm."""
        return 2

    def text(self, command: str) -> str:
        """The batch script that runs a command, a shell text of one or more lines."""
        return self._make_submission_file_text(command, "")

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        text: str = super()._make_submission_file_text(command, uid)
        head, mark, body = text.partition("\n# setup\n")
        lines = [line for line in head.splitlines() if line != _SIGNAL and not line.startswith(_OUTPUT)]
        return "\n".join(lines) + "\n" + mark + body.replace(_MARK, "", 1).rstrip("\n") + "\n"

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return ["sbatch", "--parsable", *self.places]

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        return read_job_id(string.decode() if isinstance(string, bytes) else string)

    def _submit_command(self, command: str) -> SlurmJob:
        write_whole(self.run.script, self._make_submission_file_text(command, ""))
        environment = for_submission(self.flags)
        output = submit_once(self._make_submission_command(self.run.script), self.run, environment)
        job_id = self._get_job_id_from_submission_command(output)
        return self.job_class(folder=self.folder, job_id=job_id, tasks=list(range(self._num_tasks())))


def escape(value: Flag) -> Flag:
    """A value for an #SBATCH line, to be quoted as for a shell: unlike a shell, sbatch reads a backslash between
    quotes as an escape."""
    return value.replace("\\", "\\\\") if isinstance(value, str) else value
