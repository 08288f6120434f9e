"""`python -m trainer stage RUN`: all that a run touches into its store, and the record of it."""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from conf.folder import RunFolder, read_json
from conf.staged import record_file, staged_key
from trainer.errors import PreparationError
from trainer.prepare import fail, prepare, read_config, talk


def main(argv: Sequence[str]) -> int:
    """The command. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer stage", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--json", action="store_true", help="print the record as JSON on stdout")
    arguments = parser.parse_args(argv)
    talk()
    folder = RunFolder(arguments.run)
    try:
        config = read_config(folder)
        store = Path(str(config.store.root))
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        prepare(folder)
    except (PreparationError, OSError) as error:
        return fail(error)
    record = read_json(record_file(store, staged_key(config)))
    size = sum(file["size"] for asset in record["assets"] for file in asset["files"])
    print(f"staged in {store}: {size / 1e9:.3f} GB, {_free(store)} free", file=sys.stderr)
    if arguments.json:
        print(json.dumps(record, indent=2))
    return 0


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
