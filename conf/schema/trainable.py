"""How many parameters an adapter trains: formulas over an Architecture, as PEFT 0.21 attaches each kind.

They are checked against PEFT on the meta device in tests/trainer.
"""

import math
from collections.abc import Iterator

from conf.schema.adapter import AdapterConfig
from conf.schema.model import Architecture
from conf.schema.sizes import (
    ALL_LINEAR,
    FEEDFORWARD,
    Matrix,
    ia3_targets,
    matrices,
    output_norm_parameters,
    parameter_count,
    targeted,
)


def trainable_count(shape: Architecture, adapter: AdapterConfig) -> int | None:
    """Parameters that are trained; None where that cannot be known from the shape.

    Not known are regular expressions (adapter.unfrozen), modules to save that are no weight matrix, and what PEFT
    cannot attach, as the half of a stacked pair of experts."""
    if adapter.kind == "full":
        return parameter_count(shape)
    if adapter.kind == "freeze":
        return None if adapter.unfrozen or adapter.last_layers is None else _last(shape, adapter.last_layers)
    try:
        saved = _saved(shape, adapter.modules_to_save)
        if adapter.layers is None:
            return saved + _attached(shape, adapter)
        return saved + sum(_in_layer(shape, adapter, number) for number in set(adapter.layers))
    except ValueError:
        return None


def initial_rank(adapter: AdapterConfig) -> int:
    """AdaLoRA's rank at the start: 1.5 times the rank at the end, rounded up, unless given."""
    return adapter.init_r or math.ceil(1.5 * adapter.r)


def _last(shape: Architecture, count: int) -> int:
    """The last decoder layers, the norm after them, and the output layer where it is not the embedding."""
    rest = _cut(shape, max(shape.num_hidden_layers - count, 0))
    found = parameter_count(shape) - parameter_count(rest) + output_norm_parameters(shape)
    if not shape.tie_word_embeddings:
        found += sum(matrix.parameters for matrix in matrices(shape) if matrix.path == "lm_head")
    return found


def _cut(shape: Architecture, layers: int) -> Architecture:
    return shape.model_copy(update={"num_hidden_layers": layers})


def _in_layer(shape: Architecture, adapter: AdapterConfig, number: int) -> int:
    """What the decoder layer `number` gets; embedding and output layer get nothing where layers are chosen."""
    if number >= shape.num_hidden_layers:
        return 0
    inner, outer = (_attached(_cut(shape, layers), adapter, inside=True) for layers in (number, number + 1))
    return outer - inner


def _attached(shape: Architecture, adapter: AdapterConfig, inside: bool = False) -> int:
    """Parameters of all adapted layers. `inside`: of decoder layers alone. Raises ValueError where PEFT would."""
    found = 0
    for matrix, stacked in _reached(shape, adapter):
        if not matrix.copies or (matrix.kind == "outer" and inside):
            continue
        if matrix.kind in ("experts", "router") and (adapter.dora or inside):
            raise ValueError(f"{matrix.path} takes neither DoRA nor a choice of layers")
        found += matrix.copies * matrix.experts * _of_one(matrix, adapter, stacked)
    return found


def _reached(shape: Architecture, adapter: AdapterConfig) -> Iterator[tuple[Matrix, int]]:
    targets = adapter.targets or (ia3_targets(shape.family) if adapter.kind == "ia3" else [ALL_LINEAR])
    reached = targeted(shape, targets) if adapter.kind == "lora" else ((found, 1) for found in _layers(shape, targets))
    for matrix, stacked in reached:
        if not any(matrix.is_named(name) for name in adapter.modules_to_save):
            yield matrix, stacked
    for name in adapter.target_parameters:
        named = [matrix for matrix in matrices(shape) if _is_parameter(matrix, name)]
        if not named:
            raise ValueError(f"{name} is no parameter of this model")
        yield from ((matrix, 1) for matrix in named)


def _layers(shape: Architecture, targets: list[str]) -> Iterator[Matrix]:
    """Layers that names reach: stacked experts and routers are none, and LoRA alone takes them."""
    for matrix in matrices(shape):
        every = ALL_LINEAR in targets and matrix.kind == "linear"
        if every or (matrix.kind in ("linear", "outer") and any(matrix.is_named(target) for target in targets)):
            yield matrix


def _is_parameter(matrix: Matrix, name: str) -> bool:
    """Whether a parameter's name means this matrix: a stack bears its module's name, all others end in `weight`."""
    if matrix.kind == "experts":
        return matrix.is_named(name)
    return name.endswith(".weight") and matrix.is_named(name.removesuffix(".weight"))


def _of_one(matrix: Matrix, adapter: AdapterConfig, stacked: int) -> int:
    """Trained parameters beside one matrix.

    LoRA: r (i + o), and o more with DoRA (arXiv:2402.09353, section 4). AdaLoRA: r (i + o + 1) at the start
    (arXiv:2303.10512, section 3.1). VeRA: r + o (arXiv:2310.11454, section 3.2). (IA)3: i for an MLP's last
    layer, else o.
    """
    if adapter.kind == "vera":
        return adapter.r + matrix.outputs
    if adapter.kind == "ia3":
        return matrix.inputs if matrix.leaf in FEEDFORWARD else matrix.outputs
    if adapter.kind == "adalora":
        return initial_rank(adapter) * (matrix.inputs + matrix.outputs + 1)
    magnitude = matrix.outputs if adapter.dora else 0
    return stacked * adapter.r * (matrix.inputs + matrix.outputs) + magnitude


def _saved(shape: Architecture, names: list[str]) -> int:
    """Parameters of whole modules that are trained beside the adapter. Raises ValueError for one that is no matrix."""
    found: dict[str, int] = {}
    for name in names:
        named = [matrix for matrix in matrices(shape) if matrix.is_named(name) and matrix.kind in ("linear", "outer")]
        if not named:
            raise ValueError(f"{name} is no weight matrix of this model")
        found |= {matrix.path: matrix.parameters for matrix in named}
    return sum(found.values())
