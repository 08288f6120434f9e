"""The verb `verify`: is all there that an offline run of these words touches?"""

import argparse
from collections.abc import Sequence

from launcher import report, touched
from launcher.arguments import Parser
from launcher.complete import Completeness, fix, look, told
from launcher.errors import AssetsMissing


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher verify [-m] OVERRIDES [--store DIR] [--json]`. Gives the exit code."""
    flags, rest = _parser().parse_known_args(list(arguments))
    line = touched.read(rest, flags.config_dir)
    runs = touched.runs(line, flags.store)
    config, found = runs[0].config, _together([look(run.config, whole=True) for run in runs])
    words = touched.typed(line)
    if flags.json:
        report.document(
            {
                "store": config.store.root,
                "complete": not found.lacks,
                "missing": [vars(lack) for lack in found.lacks],
                "fix": fix(config, words) if found.lacks else None,
                "assets": [{name: value for name, value in asset.items() if name != "files"} for asset in found.assets],
            }
        )
    elif not found.lacks:
        _show(found)
    if found.lacks:
        report.say(told(found.lacks, config, words))
        return AssetsMissing.exit_code
    return 0


def _together(found: Sequence[Completeness]) -> Completeness:
    """What several runs touch and lack, each once."""
    lacks = dict.fromkeys(lack for each in found for lack in each.lacks)
    return Completeness(list(lacks), touched.distinct(asset for each in found for asset in each.assets))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "verify", "Is all there that an offline run (with -m: a sweep) touches? Needs no network.", runs=False
    )
    parser.add_argument("--store", metavar="DIR", help="the store (default: store.root)")
    return parser


def _show(found: Completeness) -> None:
    for asset in found.assets:
        size = sum(file["size"] for file in asset["files"])
        licence = asset.get("licence") or {}
        accepted = f", accepted by {licence['accepted_by']}" if licence.get("accepted_by") else ""
        named = f", {licence['name']}{accepted}" if licence.get("name") else accepted
        revision = asset["revision"] if isinstance(asset["revision"], str) else ""
        at = f" at {revision[:12]}" if revision else ""
        print(report.one_line(f"{asset['kind']:10} {asset['id']}{at}: {len(asset['files'])} files, "
                              f"{report.human(size)}B{named}"))  # fmt: skip
    print("complete: every file is present, with its size and digest, and can be read")
