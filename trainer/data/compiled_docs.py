"""Docstrings of the modules written in C, printed as JSON: `python -I -S compiled_docs.py`.

A program of its own, since a library, debugger or test runner may have replaced functions in a process that runs
already (pytest does sys.unraisablehook). It imports the standard library alone.
"""

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

COMPILED = (
    "array", "binascii", "builtins", "cmath", "datetime", "decimal", "gc", "itertools", "math", "os", "select", "sys",
    "time", "unicodedata", "zlib",
)  # fmt: skip
"""Modules with documentation in C, all safe to import; one that this Python was built without is passed over."""
SECONDS = 60.0
Found = tuple[str, str, str, str, str]
"""Dotted name, module, kind (function or method), parameters as written, docstring."""


def compiled_docs() -> list[Found]:
    """What a fresh interpreter finds."""
    command = [sys.executable, "-I", "-S", __file__]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS, check=True
    )
    return [(name, module, kind, arguments, doc) for name, module, kind, arguments, doc in json.loads(done.stdout)]


def _inspected() -> Iterator[Found]:
    for name in COMPILED:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        prefix = "" if name == "builtins" else f"{name}."
        for public, value in sorted(vars(module).items()):
            if public.startswith("_"):
                continue
            if inspect.isbuiltin(value):
                yield from _described(value, name, prefix + public, "function")
            elif inspect.isclass(value) and _is_compiled(value, module):
                for method, function in sorted(vars(value).items()):
                    if not method.startswith("_") and inspect.isroutine(function):
                        yield from _described(function, name, f"{prefix}{public}.{method}", "method")


def _is_compiled(value: type, module: ModuleType) -> bool:
    return value.__module__ == module.__name__ and not inspect.isfunction(vars(value).get("__init__"))


def _described(value: Any, module: str, name: str, kind: str) -> Iterator[Found]:
    doc = getattr(value, "__doc__", None)
    if isinstance(doc, str) and doc.strip():
        signature = getattr(value, "__text_signature__", None) or ""
        arguments = re.sub(r"\$\w+,? ?", "", signature).strip("()")
        yield name, module, kind, arguments, inspect.cleandoc(doc)


if __name__ == "__main__":
    json.dump(list(_inspected()), sys.stdout)
