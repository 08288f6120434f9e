"""Files of wandb that were cut anywhere keep every record that was whole, and nothing else."""

import os
import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.torn import mend

START = b":W&B\x8f\xbe\x00"
BLOCK = 32_768


def written(records: list[bytes]) -> tuple[bytes, list[int]]:
    """A file with these records, and where each ends."""
    file, ends = bytearray(START), []
    for record in records:
        rest, kind = record, "first"
        while True:
            left = BLOCK - len(file) % BLOCK
            if left < 7:
                file += bytes(left)
                continue
            piece, rest = rest[: left - 7], rest[left - 7 :]
            number = {"first": 2, "later": 3}[kind] if rest else {"first": 1, "later": 4}[kind]
            file += struct.pack("<IHB", zlib.crc32(bytes([number]) + piece), len(piece), number) + piece
            kind = "later"
            if not rest:
                break
        ends.append(len(file))
    return bytes(file), ends


@given(
    sizes=st.lists(st.integers(0, 200) | st.integers(BLOCK - 40, 3 * BLOCK), min_size=1, max_size=6),
    share=st.floats(0, 1),
    tail=st.sampled_from([b"", bytes(3), bytes(64)]),
)
@settings(max_examples=300, deadline=None)
def test_a_file_cut_anywhere_ends_with_its_last_whole_record(sizes: list[int], share: float, tail: bytes) -> None:
    """`tail`: zeros behind the cut, as a file system leaves them after a power cut."""
    whole, ends = written([bytes([65 + index]) * size for index, size in enumerate(sizes)])
    cut = len(START) + round(share * (len(whole) - len(START)))
    kept = max([len(START), *(end for end in ends if end <= cut)])
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "run-one.wandb"
        file.write_bytes(whole[:cut] + tail)
        assert mend(file) == cut + len(tail) - kept
        assert file.read_bytes() == whole[:kept]
        assert mend(file) == 0


@pytest.mark.parametrize("content", [b"", b":W&", b"another form, of whatever length", START])
def test_what_is_no_such_file_stays(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run-one.wandb"
    file.write_bytes(content)
    before = os.stat(file).st_mtime_ns
    assert mend(file) == 0 and file.read_bytes() == content and os.stat(file).st_mtime_ns == before


def test_damage_further_ahead_throws_nothing_away(tmp_path: Path) -> None:
    whole, ends = written([b"first", b"second", b"third"])
    file = tmp_path / "run-one.wandb"
    damaged = bytearray(whole)
    damaged[ends[1] - 1] ^= 1
    file.write_bytes(damaged)
    assert mend(file) == 0 and file.read_bytes() == damaged
