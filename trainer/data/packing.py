"""Packing: which rows share a sequence, so that little of it is padding."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing over all rows: lists of row numbers whose lengths sum to at most `capacity`.

    The longest row comes first; each goes where it leaves the least space (Johnson et al. 1974, SIAM J. Comput.
    3:4: at most 11/9 of the fewest sequences possible, and a constant). Every row is in one sequence, once. The result
    depends on the lengths and their order alone: rows ascend in a sequence, and sequences by their first row. A length
    must be between 1 and `capacity`.
    """
    open_by_space: list[list[list[int]]] = [[] for _ in range(capacity + 1)]
    spaces = 0  # bit s is set where a sequence with s tokens of space is open
    sequences: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length = lengths[number]
        assert 1 <= length <= capacity, f"row {number} has {length} tokens of at most {capacity}"
        fitting = spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            sequence = open_by_space[space].pop()
            if not open_by_space[space]:
                spaces &= ~(1 << space)
        else:
            space = capacity
            sequence = []
            sequences.append(sequence)
        sequence.append(number)
        if space > length:
            open_by_space[space - length].append(sequence)
            spaces |= 1 << (space - length)
    for sequence in sequences:
        sequence.sort()
    return sorted(sequences)
