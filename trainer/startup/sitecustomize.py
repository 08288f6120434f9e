"""Python imports this before anything else in every process of an offline job: this folder then stands in PYTHONPATH.

So the guard is also in what workers start: spawned data loaders, and Python programs of libraries. The site's own
module of this name, which stands behind it, is carried out as ever."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

from trainer.guard import install_from

install_from(os.environ)


def _go_on() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    behind = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != here])
    if behind is not None and behind.loader is not None:
        module = module_from_spec(behind)
        sys.modules["sitecustomize"] = module
        behind.loader.exec_module(module)


_go_on()
