"""What can go wrong with a command, one class an exit code. The message is all that the user reads."""


class LauncherError(Exception):
    """A command that could not be carried out; says what happened, what there is, and what to type."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class InputError(LauncherError):
    """What was typed is wrong: an unknown verb, run or key, a value that is not allowed."""

    exit_code = 2


class SiteError(LauncherError):
    """The site refused, does not answer, or has no Slurm."""

    exit_code = 3


class RunFailed(LauncherError):
    """A run that was followed to its end failed."""

    exit_code = 4


class AssetsMissing(LauncherError):
    """Weights or data are not there and cannot be brought."""

    exit_code = 5
