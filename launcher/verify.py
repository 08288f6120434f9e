"""The verb `verify`: is all there that an offline run of these words touches?"""

import argparse
from collections.abc import Sequence

from launcher import argv, report
from launcher.arguments import Parser
from launcher.complete import Completeness, fix, look, told
from launcher.errors import AssetsMissing
from launcher.private import with_cluster
from launcher.resolve import resolve


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher verify OVERRIDES [--store DIR] [--json]`. Gives the exit code."""
    flags, rest = _parser().parse_known_args(list(arguments))
    line = argv.single(argv.parse(rest))
    words = [*with_cluster(line.overrides), *store_word(flags.store)]
    config = resolve(words, argv.own_folder(flags.config_dir)).config
    found = look(config, whole=True)
    if flags.json:
        report.document(
            {
                "store": config.store.root,
                "complete": not found.lacks,
                "missing": [vars(lack) for lack in found.lacks],
                "fix": fix(config, line.overrides) if found.lacks else None,
                "assets": [{name: value for name, value in asset.items() if name != "files"} for asset in found.assets],
            }
        )
    elif not found.lacks:
        _show(found)
    if found.lacks:
        report.say(told(found.lacks, config, line.overrides))
        return AssetsMissing.exit_code
    return 0


def store_word(store: str | None) -> list[str]:
    """`--store DIR` as a word of the line."""
    return [] if store is None else [f"store.root={store}"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser("verify", "Is all there that an offline run touches? Needs no network.", runs=False)
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
