"""What a model's weights take while they rest: a lower bound, from its architecture and how it is quantised."""

from conf.schema.run import RunConfig
from conf.schema.sizes import matrices


def resting_bytes(config: RunConfig) -> int | None:
    """The least that the model's weights take while they rest, in bytes; None where the size is not known.

    Packed weights are counted without their scales, and all else in 2 bytes (4 where fp32 is computed)."""
    shape, count, bits = config.model.architecture, config.model.parameters, config.adapter.bits
    width = 4 if config.precision.compute == "fp32" else 2
    if bits is None or shape is None:
        return None if count is None else (count * bits // 8 if bits else count * width)
    packed = sum(matrix.parameters for matrix in matrices(shape) if matrix.kind == "linear")
    rest = sum(matrix.parameters for matrix in matrices(shape) if matrix.kind != "linear")
    if shape.tie_word_embeddings:
        rest -= shape.vocab_size * shape.hidden_size
    return packed * bits // 8 + rest * width
