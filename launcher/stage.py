"""The verb `stage`: all that a run touches into a store; that part of it into a bundle; a bundle into a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.folder import read_json
from conf.schema.operations import StorePlace
from conf.schema.run import RunConfig
from conf.staged import record_file, staged_key
from launcher import report, touched
from launcher.arguments import Parser
from launcher.child import run_trainer
from launcher.errors import InputError
from launcher.private import private_run
from launcher.resolve import Resolved

PART_SIZE = "4G"
"""Longest file of a bundle unless --part-size says."""
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher stage [-m] OVERRIDES [--store DIR] [--bundle FILE [--part-size 4G] [--wheelhouse]] [--json]`,
    or `stage --from-bundle FILE [--store DIR]`. Gives the exit code."""
    flags, rest = _parser().parse_known_args(list(arguments))
    line = touched.read(rest, flags.config_dir)
    if flags.from_bundle is not None:
        if line.overrides or flags.bundle or flags.wheelhouse:
            raise InputError("--from-bundle takes no words of a run, no --bundle and no --wheelhouse: the bundle says")
        return _unpack(Path(flags.from_bundle), flags.store, flags.allow_code, flags.json)
    if flags.bundle is None and flags.wheelhouse:
        raise InputError("--wheelhouse goes with a bundle: add --bundle FILE")
    part = part_size(flags.part_size)
    runs = touched.runs(line, flags.store)
    store = Path(str(runs[0].config.store.root))
    answer: dict[str, Any] = {"store": str(store), "staged": [_stage(run) for run in runs]}
    if flags.bundle is not None:
        from launcher.bundle import write_bundle

        answer["bundle"] = write_bundle(Path(flags.bundle), store, answer["staged"], part)
        if flags.wheelhouse:
            from launcher.wheelhouse import write_wheelhouse

            answer["wheelhouse"] = str(write_wheelhouse(Path(f"{flags.bundle}.wheelhouse")))
    _answer(answer, flags.json)
    return 0


def part_size(text: str) -> int:
    """Bytes of `4G`, `700M`, `64K` or a plain number. Raises InputError."""
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    if not number.isdigit() or int(number) == 0:
        raise InputError(f"--part-size {text!r} is no size: give bytes, or a number with K, M or G, as 4G")
    return int(number) * _UNITS.get(unit, 1)


def _stage(run: Resolved) -> dict[str, Any]:
    """Stage what one run touches; gives the record."""
    with private_run(run) as folder:
        run_trainer(folder, ["stage", str(folder.path)], quiet=True)
    return read_json(record_file(Path(str(run.config.store.root)), staged_key(run.config)))


def _unpack(file: Path, store: str | None, allow_code: bool, as_json: bool) -> int:
    from conf.schema.derive import derive
    from launcher.unbundle import unbundle

    config = derive(RunConfig(store=StorePlace(root=store)))
    answer = unbundle(file, Path(str(config.store.root)), allow_code=allow_code)
    if as_json:
        report.document(answer)
        return 0
    for asset in answer["assets"]:
        print(report.one_line(f"{asset['kind']:10} {asset['id']}: {asset['path']}"))
    print(f"unpacked into {answer['store']}: every part, file and folder has its digest")
    for line in answer["type"]:
        print(report.one_line(f"here type {line}"))
    return 0


def _answer(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        report.document(answer)
        return
    for asset in touched.distinct(asset for record in answer["staged"] for asset in record["assets"]):
        size = sum(file["size"] for file in asset["files"])
        print(report.one_line(f"{asset['kind']:10} {asset['id']}: {len(asset['files'])} files, {report.human(size)}B"))
    print(f"store      {answer['store']}")
    for part in answer.get("bundle", {}).get("parts", []):
        print(f"part       {part['name']}: {report.human(part['size'])}B")
    if "wheelhouse" in answer:
        print(f"wheelhouse {answer['wheelhouse']}")


def _parser() -> Parser:
    says = "Bring all that a run (with -m: a sweep) touches into a store; pack it for a machine without a network."
    parser = Parser("stage", says, runs=False)
    parser.add_argument("--store", metavar="DIR", help="the store (default: store.root)")
    parser.add_argument("--bundle", metavar="FILE", help="pack what was staged: an index FILE and FILE.0001, ...")
    parser.add_argument("--part-size", default=PART_SIZE, metavar="N", help="longest part (default: %(default)s)")
    parser.add_argument("--wheelhouse", action="store_true", help="the installed packages too, into FILE.wheelhouse/")
    parser.add_argument("--from-bundle", metavar="FILE", help="unpack a bundle into the store")
    parser.add_argument("--allow-code", action="store_true",
                        help="with --from-bundle: take pickled weights and Python files as well")  # fmt: skip
    return parser
