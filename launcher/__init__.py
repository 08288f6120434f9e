"""Login node: compose, check, plan, freeze, submit; then status, logs, cancel, resume. Never imports torch.

`conf` is taken from beside this package, whatever the user's folder or PYTHONPATH hold under that name: `python -m`
looks into the current folder first.
"""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the rooms: the checkout, or site-packages."""


def _pin(package: str) -> None:
    """Import one of our packages from ROOT, so that every later import of it finds that one."""
    place = ROOT / package
    spec = importlib.util.spec_from_file_location(
        package, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)


for _package in ("conf", "slurm_templates"):
    if _package not in sys.modules:
        _pin(_package)
