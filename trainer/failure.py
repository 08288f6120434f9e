"""What a worker leaves behind when it fails: one cause, one message, where the agent looks for them."""

import errno
import os
import re
from pathlib import Path

from conf.folder import Cause, write_json
from trainer.errors import PreparationError

_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
_PEER = re.compile(r"closed by peer|connection reset|connection refused|broken pipe|gloo|nccl|socket", re.IGNORECASE)


class WorkerError(Exception):
    """A worker cannot do what the run says. The message is one sentence for people, with what to change."""


def cause_of(error: BaseException) -> Cause:
    """The cause of an attempt's end that fits an error of a worker.

    A lost connection is `network`: mostly the echo of another worker's end, and the agent weighs it as such."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, WorkerError | PreparationError):
        return "worker_crash"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk_full"
    if _NO_SPACE.search(text):
        return "disk_full"
    if isinstance(error, RuntimeError):
        if _NO_MEMORY.search(text):
            return "out_of_memory"
        if type(error).__name__.startswith("Dist") or _PEER.search(text):
            return "network"
    return "worker_crash"


def message_of(error: BaseException, cause: Cause) -> str:
    """One sentence for people about an error of a worker."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, WorkerError | PreparationError):
        return str(error)
    if cause == "out_of_memory":
        return f"out of memory: lower batch.micro or data.max_length, or shard with parallel=fsdp2 ({first})"
    if cause == "disk_full":
        return f"no space left where the run writes: free some, or set run.root elsewhere ({first})"
    return f"{type(error).__name__}: {first}"


def write_failure(attempt: Path, rank: int, error: BaseException) -> None:
    """Write attempts/<n>/failure-<rank>.json. Never raises: the disk may be what failed."""
    cause = cause_of(error)
    try:
        os.makedirs(attempt, exist_ok=True)
        write_json(attempt / f"failure-{rank}.json", {"cause": cause, "message": message_of(error, cause)})
    except OSError:
        pass
