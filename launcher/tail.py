"""Reading files that others append to: each complete line once."""

import json
from pathlib import Path
from typing import Any


class Tail:
    """The lines that a file gains, from its beginning on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def lines(self) -> list[str]:
        """Complete lines that have not been given yet, without their ends; [] where there is no file."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete.decode("utf-8", errors="replace").splitlines()

    def rest(self) -> list[str]:
        """The last line where it was never completed, as a process leaves it that was killed."""
        complete = self.lines()
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        return complete + data.decode("utf-8", errors="replace").splitlines()

    def objects(self) -> list[dict[str, Any]]:
        """The same lines as JSON objects; what is none is left out."""
        found = []
        for line in self.lines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found
