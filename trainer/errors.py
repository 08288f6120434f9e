"""What a person can put right: mistakes and missing assets, each with the exit code that it ends a command with."""


class PreparationError(Exception):
    """Weights or rows that cannot be prepared. The message says what to type; there is no bug and no traceback."""

    exit_code = 2
