"""One attempt on one node: meet the other nodes, start the workers, watch, and leave with everything told and ended."""

import json
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict

from conf.folder import Cause, RunFolder, read_json
from conf.schema.run import RunConfig
from trainer import lifeline, peers, preparation, processes, rendezvous, scratch
from trainer.attempt import INTERRUPTED, AttemptRecord, left
from trainer.beat import beat_age
from trainer.conclusion import cause_of, exit_code, write_down
from trainer.ends import End, Ended, kills_for_memory, tail, verdict, worker_end
from trainer.job import Job
from trainer.signals import SignalFlags

ARRIVAL = 600.0
"""Seconds within which all nodes must have found one another."""
SETTLE = 5.0
"""Seconds that the head waits for the other nodes' word after a failure."""
FINISH = 300.0
"""Seconds that the head waits for the other nodes after its own workers are done."""
LOOK = 0.2
"""Seconds between two looks at workers, signals and other nodes."""


def _bad(ends: list[End]) -> bool:
    return any(end.cause != "completed" for end in ends)


class _Followed(Exception):
    """The attempt has ended on another node."""


class Node:
    """One attempt on one node."""

    def __init__(self, folder: RunFolder, config: RunConfig, job: Job, attempt: int, flags: SignalFlags) -> None:
        self._folder = folder
        self._config = config
        self._job = job
        self._attempt = attempt
        self._flags = flags
        self._log = folder.attempt_folder(attempt) / f"{job.node}.log"
        self._record = AttemptRecord(folder, attempt) if job.is_head else None
        self._peers: peers.Peers | None = None
        self._scratch: scratch.Scratch | None = None
        self._workers: processes.Workers | None = None
        self._notice: signal.Signals | None = None
        self._heard_ending = False
        self._cancels = self._count_cancels()
        self._memory_kills = kills_for_memory()

    def run(self) -> int:
        """Carry the attempt through on this node. Returns the exit code."""
        lifeline.adopt_orphans()
        if self._record is not None:
            self._record.begin(self._job, self._config)
        try:
            end = self._carry_through()
        except Ended as ended:
            end = End(ended.node or self._job.node, ended.cause, ended.message)
        except _Followed:
            end = self._follow()
        except Exception as error:
            traceback.print_exc()
            end = End(self._job.node, "unknown", f"a bug in the agent: {error!r}; see {self._log}")
        if end.cause != "completed":
            self._say(f"{end.cause}: {end.message.partition(chr(10))[0]}")
        code = self._leave(end)
        self._say(f"leaves with {code}")
        return code

    def _carry_through(self) -> End:
        if self._record is not None and (why := self._record.used_up(self._config)):
            raise Ended("node_failure", why)
        server = self._meet()
        if not preparation.needed(self._folder):
            # Now, so that they import torch while this process does; they wait for one another anyway.
            self._start_workers()
        self._join(server)
        assert self._peers is not None
        if self._job.is_head:
            if self._workers is None:
                self._say("prepares the model and the data")
                preparation.carry_out(self._folder, self._log, self._pause, self._config.offline)
            self._await_nodes(self._peers)
            self._peers.start()
        else:
            while not self._peers.started:
                self._pause()
        self._look()
        return self._watch(self._workers or self._start_workers())

    def _meet(self) -> socket.socket | None:
        """Where the nodes meet. Gives the head's socket there, which listens."""
        identity = rendezvous.meeting_id(self._folder.id, self._job, self._attempt)
        if not self._job.is_head:
            self._meeting = rendezvous.find(self._log.parent, identity, ARRIVAL, self._look)
            return None
        alone = len(self._job.nodes) == 1
        server = rendezvous.listen(rendezvous.ports(identity, rendezvous.ephemeral_low()), alone)
        port: int = server.getsockname()[1]
        self._meeting = rendezvous.Meeting(identity, rendezvous.head_address(self._job), port)
        if not alone:
            rendezvous.publish(self._log.parent, self._meeting)
        return server

    def _join(self, server: socket.socket | None) -> None:
        """Meet the other nodes; on the head with the socket of `_meet`."""
        store = peers.join(self._meeting, self._look) if server is None else peers.host(server, self._meeting)
        self._peers = peers.Peers(self._job, store)
        place = f"{self._meeting.host}:{self._meeting.port}"
        self._say(f"node {self._job.rank} of {len(self._job.nodes)}, meets at {place}")

    def _start_workers(self) -> processes.Workers:
        self._look()
        self._to_scratch()
        self._workers = processes.Workers(
            processes.worker_command(self._folder),
            processes.environments(self._config, self._folder, self._attempt, self._job, self._meeting, os.environ),
        )
        return self._workers

    def _to_scratch(self) -> None:
        """Where the site has scratch disks: copy what the workers read to this node's, and tell them where it lies."""
        if self._config.site.scratch is None:
            return
        brought, self._scratch = scratch.bring(self._config, self._folder, self._job, self._pause)
        self._say(brought.words)
        os.environ[scratch.VARIABLE] = json.dumps(brought.paths)
        if self._record is not None:
            self._folder.append_event("scratch", self._attempt, **asdict(brought))

    def _await_nodes(self, others: peers.Peers) -> None:
        deadline = time.monotonic() + ARRIVAL
        while others.missing:
            if time.monotonic() > deadline:
                raise Ended("node_failure", f"no word from {', '.join(others.missing)} within {ARRIVAL:.0f} s")
            self._pause()

    def _watch(self, workers: processes.Workers) -> End:
        """Until all workers of this node are done, or one has failed."""
        while True:
            codes = workers.exit_codes()
            if any(codes.values()):
                return self._first_failure(workers, codes)
            if len(codes) == len(workers.pids):
                return self._all_done()
            self._pause()
            if self._stalled():
                workers.dump_stacks(self._say)
                limit = self._config.limits.stall
                raise Ended("stalled", f"no step for limits.stall={limit} s; the stacks of its workers: {self._log}")

    def _all_done(self) -> End:
        """The workers are done, or have saved and left because one of them was told to."""
        self._heed_signals()
        if (step := left(self._log.parent)) is None:
            return End(self._job.node, "completed")
        cause, words = cause_of(self._notice, self._job, self._config)
        return End(self._job.node, cause, f"{words}; all workers left together after step {step}, which is saved")

    def _follow(self) -> End:
        """The attempt has ended on another node. Where that was because all were told to leave, the head judges why: it
        alone asks Slurm for the present end of the time limit."""
        if self._job.is_head and left(self._log.parent) is not None:
            return self._all_done()
        ends = self._peers.ends if self._peers is not None else ()
        heard: list[Cause] = [end.cause for end in ends if end.cause in INTERRUPTED]
        cause = self._heads_word() or (heard[0] if heard else "unknown")
        return End(self._job.node, cause, "left because the attempt ended on another node")

    def _first_failure(self, workers: processes.Workers, first: dict[int, int]) -> End:
        # Slurm may signal workers and agent alike, in any order; and a second worker may know better what happened.
        time.sleep(1.0)
        self._heed_signals()
        exhausted = kills_for_memory() > self._memory_kills
        offset = self._job.rank * self._config.cluster.devices_per_node
        ends = []
        for local, code in (first | workers.exit_codes()).items():
            if code:
                rank = offset + local
                words = tail(self._log, rank)
                ends.append(worker_end(self._job.node, rank, code, self._log.parent, words, exhausted))
        end = verdict(ends, ())
        if self._notice is not None:
            cause, words = cause_of(self._notice, self._job, self._config)
            return End(end.node, cause, f"{words}; and before all had left: {end.message}", end.exit_code)
        return end

    def _pause(self) -> None:
        time.sleep(LOOK)
        self._look()

    def _look(self) -> None:
        """Raise what there is to know from signals and from other nodes."""
        self._heed_signals()
        others = self._peers
        if others is None:
            if self._heads_word() is not None:
                raise _Followed
            return
        if others.over or _bad(others.ends):
            raise _Followed
        if self._job.is_head and (silent := others.silent):
            raise Ended(
                "node_failure", f"no sign of life from {', '.join(silent)} for {peers.SILENCE:.0f} s", silent[0]
            )
        if others.trouble is not None:
            time.sleep(1.0)
            self._heed_signals()
            if self._heads_word() is not None:
                raise _Followed
            raise Ended("network", others.trouble)

    def _heads_word(self) -> Cause | None:
        """Cause of the attempt's end where the head has written it down and left, as it can before this node has met
        it or heard of it; None on the head itself."""
        if self._job.is_head:
            return None
        record = read_json(self._log.parent / "attempt.json")
        return (record.get("cause") or "unknown") if record.get("ended") is not None else None

    def _heed_signals(self) -> None:
        while self._flags.notices:
            self._note(self._flags.notices.pop(0))
        if (number := self._flags.ending) is not None:
            if self._count_cancels() > self._cancels:
                raise Ended("cancelled", f"{number.name} after the run was cancelled")
            if number != signal.SIGTERM or self._config.cluster.kind == "local":
                raise Ended(*cause_of(number, self._job, self._config))
            if not self._heard_ending:
                self._heard_ending = True
                self._note(number)

    def _note(self, number: signal.Signals) -> None:
        """A notice: the workers are told, once, to save and leave together; where none trains yet, leave at once."""
        self._say(f"got {number.name}")
        if self._record is not None:
            self._folder.append_event("signal", self._attempt, signal=number.name)
        if self._notice is not None:
            return
        self._notice = number
        if self._workers is not None:
            # Told first: one that begins to train only now knows it before its first step.
            self._workers.tell()
        if self._job.is_head and not self._training():
            cause, words = cause_of(number, self._job, self._config)
            raise Ended(cause, f"{words}; no step was made yet")

    def _training(self) -> bool:
        """Whether the workers have begun, or may have begun, to make steps in this attempt."""
        return self._workers is not None and any(
            event.get("event") == "data_ready" and event.get("attempt") == self._attempt
            for event in self._folder.events()
        )

    def _stalled(self) -> bool:
        """Whether training has begun and its last sign of progress is too long ago."""
        limit = self._config.limits.stall
        age = beat_age(self._log.parent)
        return limit is not None and age is not None and age > limit

    def _count_cancels(self) -> int:
        """`launcher cancel` says so in the events before it signals."""
        return sum(event.get("event") == "cancelled" for event in self._folder.events())

    def _leave(self, end: End) -> int:
        """Tell the others, end the workers, settle what it was, write it down. Returns the exit code."""
        told = self._flags.ending is not None
        if self._peers is not None:
            self._peers.report(end)
        if told:
            # Little time is left, and nothing that other nodes say would change the cause.
            code = self._conclude(end)
        if self._workers is not None:
            self._workers.stop()
        if not told:
            code = self._conclude(self._settle(end))
        if self._peers is not None:
            self._peers.close(2.0)
        for pid in lifeline.end_descendants():
            self._say(f"process {pid} could not be killed")
        return code

    def _settle(self, own: End) -> End:
        """The attempt's end, from this node's and the others'."""
        others = self._peers
        if others is None or len(self._job.nodes) == 1:
            return own
        if self._job.is_head:
            # A node that never came has nothing to say.
            count = len(self._job.nodes) - len(others.missing)
            if own.cause == "completed":
                self._wait(lambda: len(others.ends) == count or _bad(others.ends), FINISH)
            if own.cause != "completed" or _bad(others.ends):
                self._wait(lambda: len(others.ends) == count, SETTLE)
            others.finish()
        else:
            self._wait(lambda: others.over or others.trouble is not None, math.inf if own.cause == "completed" else 2.0)
        return verdict([own, *(end for end in others.ends if end.node != own.node)], self._job.nodes)

    def _wait(self, settled: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not settled() and time.monotonic() < deadline and self._flags.ending is None:
            time.sleep(LOOK)

    def _conclude(self, end: End) -> int:
        """Write the end down, on the head. Returns the exit code."""
        if self._record is not None:
            end = write_down(self._record, end, self._config, self._job, self._log, self._say)
        return exit_code(self._folder, end, self._flags.ending)

    def _say(self, words: str) -> None:
        print(f"agent {self._job.node}: {words}", file=sys.stderr, flush=True)
