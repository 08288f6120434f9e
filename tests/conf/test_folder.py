"""The run folder's files of lines, where the disk is full."""

import errno
import subprocess
import sys
from pathlib import Path

from conf.folder import append_line, read_lines

FULL = """
import resource, signal, sys
from pathlib import Path
from conf.folder import append_line
# A file that may not grow past a limit is cut as by a full disk.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
try:
    append_line(Path(sys.argv[1]), {"step": 2, "words": "x" * 60})
except OSError as error:
    sys.exit(error.errno)
"""


def test_a_line_that_a_full_disk_cuts_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_line(file, {"step": 1})
    done = subprocess.run([sys.executable, "-c", FULL, str(file)], cwd=Path(__file__).parents[2], timeout=180)
    assert done.returncode == errno.ENOSPC
    assert file.stat().st_size == 40
    append_line(file, {"step": 3})
    assert read_lines(file) == [{"step": 1}, {"step": 3}]


def test_a_line_still_being_written_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert read_lines(file) == []
    append_line(file, {"words": "a\u2028b"})
    with file.open("a") as stream:
        stream.write('{"step": 2}')
    assert read_lines(file) == [{"words": "a\u2028b"}]
