"""The end of a .wandb file whose writer was killed: cut back to its last whole record, without which wandb sends none.

The file is seven bytes of wandb's own and then a log in the form of LevelDB's (its doc/log_format.md): blocks of 32
KiB, in them pieces of records, each with a checksum (4 bytes), a length (2, little-endian) and a kind (1). A record is
one piece, or a first one, some in the middle and a last one.
"""

import os
import struct
import zlib
from pathlib import Path

_MAGIC = b":W&B"
_START = 7
_BLOCK = 32_768
_HEADER = 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def mend(file: Path) -> int:
    """Cut off what is behind the last whole record; gives how many bytes that was. A file of another form stays as it
    is: wandb says itself what is wrong with it. Raises OSError."""
    data = file.read_bytes()
    if not data.startswith(_MAGIC):
        return 0
    whole = _whole(data)
    if whole < len(data):
        os.truncate(file, whole)
    return len(data) - whole


def _whole(data: bytes) -> int:
    """Bytes up to the end of the last whole record, whose checksums are right: after a power cut its end may be zeros.

    A wrong checksum further ahead is damage of another kind, and what follows it is not thrown away."""
    place, ends = _START, [(_START, True)]
    inside, right = False, True
    while place + _HEADER <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left  # too little for a piece: nothing is written there
            continue
        checksum, size, kind = struct.unpack_from("<IHB", data, place)
        begin, place = place + _HEADER, place + _HEADER + size
        expected = (_MIDDLE, _LAST) if inside else (_WHOLE, _FIRST)
        if kind not in expected or size > left - _HEADER or place > len(data):
            break
        right = right and zlib.crc32(bytes([kind]) + data[begin:place]) == checksum
        inside = kind in (_FIRST, _MIDDLE)
        if not inside:
            ends.append((place, right))
            right = True
    return min(next(end for end, sound in reversed(ends) if sound), len(data))
