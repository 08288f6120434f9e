"""Damage to files of a committed checkpoint, as a bad disk does it."""

import os
import random
from pathlib import Path

from tests.storm.schedule import Kind
from trainer import checkpoint


def damage(checkpoints: Path, kind: Kind, dice: random.Random) -> str | None:
    """Cut a file of the newest committed checkpoint in half, or flip one bit of it. Gives which, or None where fewer
    than two checkpoints are there: the run would have nothing to fall back to."""
    there = checkpoint.committed(checkpoints)
    if len(there) < 2:
        return None
    files = sorted(path for path in there[-1].rglob("*") if path.is_file() and path.stat().st_size > 1)
    file = dice.choice(files)
    size = file.stat().st_size
    if kind == "truncated":
        os.truncate(file, size // 2)
    else:
        place = dice.randrange(size)
        with file.open("r+b") as stream:
            stream.seek(place)
            byte = stream.read(1)[0]
            stream.seek(place)
            stream.write(bytes([byte ^ (1 << dice.randrange(8))]))
    return f"{there[-1].name}/{file.relative_to(there[-1])}"
