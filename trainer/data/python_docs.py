"""The built-in instruction set: questions about functions of the standard library, answered by their docstrings.

It is made on the spot from the Python that runs, without a network: source files are parsed, never imported, and of
the modules written in C a fixed list is looked at. The same Python gives the same rows, in the same order.
A change here that changes rows needs a new PYTHON_DOCS_VERSION in conf/schema/derive.py.
"""

import ast
import hashlib
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.data.compiled_docs import compiled_docs
from trainer.data.rows import Row

LEFT_OUT = frozenset({
    "antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "sre_compile", "sre_constants",
    "sre_parse", "test", "this", "tkinter", "turtle", "turtledemo",
})  # fmt: skip
"""Packages without worth as documentation, and those that some distributions install separately."""
CHARACTERS = range(40, 1001)
"""Lengths of docstrings that are taken: below stands nothing worth learning, above too much for one answer."""
SHARED_WORDS = 12
"""No run of this many words may stand both in a training row and in a held-out row."""
HELD_OUT_ROWS = 260
"""About how many rows are held out: whole modules are, until there are as many."""
HELD_OUT_LARGEST = 60
"""A module with more rows than this is trained on."""
QUESTIONS = (
    "What does the {kind} `{name}` do?",
    "What does `{call}` do in Python?",
    "Explain the Python {kind} `{name}`.",
    "Describe `{call}`.",
    "How is the {kind} `{name}` documented?",
    "Tell me about `{name}` from the module `{module}`.",
    "I found `{call}` in some Python code. What is it for?",
    "What should I know about the {kind} `{name}`?",
)


@dataclass(frozen=True, order=True)
class Documented:
    """A function or method with a docstring."""

    name: str
    """Full dotted name, as `json.JSONDecoder.decode`."""
    module: str
    """Module that it is found in."""
    kind: str
    """function or method."""
    arguments: str
    """Its parameters as written; empty where they are not known."""
    doc: str
    """The docstring, its common indentation removed (PEP 257)."""

    @property
    def package(self) -> str:
        """The top-level package: rows of one are never divided between training and evaluation."""
        return self.module.partition(".")[0]


def python_docs() -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows."""
    found = _unique([*_parsed(), *(Documented(*item) for item in compiled_docs())])
    held_packages = _held_out_packages(found)
    train = [item for item in found if item.package not in held_packages]
    seen = {run for item in train for run in word_runs(_text(item))}
    held = [item for item in found if item.package in held_packages and seen.isdisjoint(word_runs(_text(item)))]
    return [row(item) for item in train], [row(item) for item in held]


def row(item: Documented) -> Row:
    """One question and its answer."""
    return Row(messages=({"role": "user", "content": question(item)}, {"role": "assistant", "content": item.doc}))


def question(item: Documented) -> str:
    """A question that names the function; which one is asked depends on the name alone."""
    form = QUESTIONS[_number(item.name, "question") % len(QUESTIONS)]
    call = f"{item.name}({item.arguments})" if len(item.arguments) <= 80 else item.name
    return form.format(kind=item.kind, name=item.name, call=call, module=item.module)


def word_runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of SHARED_WORDS words, without regard to case and punctuation."""
    words = re.findall(r"\w+", text.lower())
    for start in range(len(words) - SHARED_WORDS + 1):
        yield tuple(words[start : start + SHARED_WORDS])


def _text(item: Documented) -> str:
    return f"{question(item)}\n{item.doc}"


def _number(name: str, salt: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8])


def _unique(items: list[Documented]) -> list[Documented]:
    """One item for each name and for each docstring, in an order that mixes modules."""
    names: set[str] = set()
    docs: set[str] = set()
    kept = []
    for item in sorted(items):
        words = " ".join(re.findall(r"\w+", item.doc.lower()))
        if item.name in names or words in docs or len(item.doc) not in CHARACTERS:
            continue
        names.add(item.name)
        docs.add(words)
        kept.append(item)
    return sorted(kept, key=lambda item: _number(item.name, "order"))


def _held_out_packages(items: list[Documented]) -> set[str]:
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.package] = sizes.get(item.package, 0) + 1
    held: set[str] = set()
    rows = 0
    for package in sorted(sizes, key=lambda name: _number(name, "held out")):
        if sizes[package] <= HELD_OUT_LARGEST and rows < HELD_OUT_ROWS:
            held.add(package)
            rows += sizes[package]
    return held


def _parsed() -> Iterator[Documented]:
    """What stands in the standard library's source files."""
    library = Path(sysconfig.get_path("stdlib"))
    for top in sorted(sys.stdlib_module_names - LEFT_OUT):
        if top.startswith("_"):
            continue
        single = library / f"{top}.py"
        for path in [single] if single.is_file() else sorted((library / top).rglob("*.py")):
            parts = path.relative_to(library).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(part.startswith("_") or part in ("test", "tests") for part in parts):
                module = ".".join(parts)
                yield from _in_body(_tree(path).body, module, module, "function")


def _tree(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own doubtful escapes
        return ast.parse(path.read_bytes())


def _in_body(body: list[ast.stmt], module: str, prefix: str, kind: str) -> Iterator[Documented]:
    """Functions of a module, methods of its classes; those under `if` and `try` too, those inside functions not."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _in_body(node.body, module, f"{prefix}.{node.name}", "method")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            doc = ast.get_docstring(node)
            if doc:
                yield Documented(f"{prefix}.{node.name}", module, kind, _arguments(node), doc)
        elif isinstance(node, ast.If | ast.Try):
            for part in (node.body, node.orelse, *([node.finalbody] if isinstance(node, ast.Try) else [])):
                yield from _in_body(part, module, prefix, kind)
            for handler in node.handlers if isinstance(node, ast.Try) else []:
                yield from _in_body(handler.body, module, prefix, kind)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return ast.unparse(node.args)
