"""What a signal means: the end of the time limit, or a preemption."""

import signal
import time

import pytest

from conf.folder import Cause
from conf.schema.run import RunConfig
from trainer.conclusion import cause_of
from trainer.job import Job


@pytest.mark.parametrize(
    ("number", "left", "cause"),
    [
        # The job's own signal comes limits.notice before the end, which is 120 s, or up to a minute earlier.
        (signal.SIGUSR2, 119.0, "time_limit"),
        (signal.SIGUSR2, 185.0, "time_limit"),
        (signal.SIGUSR2, 230.0, "preempted"),
        # SIGTERM comes at the very end; before that it is a preemption, however near the end may be.
        (signal.SIGTERM, 5.0, "time_limit"),
        (signal.SIGTERM, 90.0, "preempted"),
        (None, 60.0, "time_limit"),
        (signal.SIGUSR2, None, "preempted"),
    ],
)
def test_a_signal_is_told_by_its_time(number: signal.Signals | None, left: float | None, cause: Cause) -> None:
    job = Job(("n1",), deadline=None if left is None else time.time() + left)
    found, words = cause_of(number, job, RunConfig())
    assert found == cause
    assert words.startswith(number.name if number is not None else "a signal on another node")
