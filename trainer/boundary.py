"""The step boundary: where all workers learn, in one collective, what others ask of the run."""

from dataclasses import dataclass
from typing import Any, Literal

from conf.folder import RunFolder, read_json
from trainer.signals import NoticeFlag

Reason = Literal["stopped", "pruned"]


@dataclass(frozen=True)
class Agreed:
    """What all workers know after a step. The same on every rank."""

    tokens: int
    """Non-padding tokens of the step over all workers."""
    stop: bool
    """Somebody asked the run to stop."""
    save: bool
    """Somebody asked for a checkpoint."""
    due: bool
    """Rank 0 says that it is time for a checkpoint."""
    notice: bool
    """Some worker was told that its time is over: all save and leave."""


class Boundary:
    """Looks for RUN/stop and RUN/save on rank 0 and makes all ranks agree on them."""

    def __init__(self, folder: RunFolder, rank: int, world: int, notice: NoticeFlag) -> None:
        self.folder = folder
        self.rank = rank
        self.world = world
        self.notice = notice
        self.leaving = False
        """Whether all workers have agreed to save and leave."""

    def agree(self, tokens: int, due: bool = False, step: int = 0) -> Agreed:
        """Called by every rank after each step with its own number of tokens, and by rank 0 with whether a checkpoint
        is `due`. A collective on a CPU tensor.

        RUN/stop may say after which step: {"reason":, "step":}. Without, it is after this one."""
        asked = (False, False)
        if self.rank == 0:
            asked = (self._stops_after(step), self.folder.save_file.exists())
        total, stop, save, now, notice = self._sums(tokens, *asked, due, self.notice.given)
        self.leaving = self.leaving or notice > 0
        return Agreed(total, stop > 0, save > 0, now > 0, notice > 0)

    def must_leave(self) -> bool:
        """Whether any worker was told to leave, the same answer on every rank. A collective, for use between steps:
        before the first, in an evaluation, after a checkpoint."""
        self.leaving = self.leaving or self.anyone(self.notice.given)
        return self.leaving

    def anyone(self, flag: bool) -> bool:
        """Whether any worker says so. A collective."""
        return self._sums(flag)[0] > 0

    def _sums(self, *values: int) -> list[int]:
        """Each value summed over all workers. For flags too: any rank that has one raises it for all."""
        if self.world == 1:
            return [int(value) for value in values]
        import torch

        flags = torch.tensor([int(value) for value in values], dtype=torch.int64)
        torch.distributed.all_reduce(flags)
        return [int(value) for value in flags.tolist()]

    def reason(self) -> Reason:
        """Why the run is asked to stop; `stopped` where the file says nothing that we know."""
        return "pruned" if self._asked().get("reason") == "pruned" else "stopped"

    def _stops_after(self, step: int) -> bool:
        if not self.folder.stop_file.exists():
            return False
        last = self._asked().get("step")
        return not isinstance(last, int) or step >= last

    def _asked(self) -> dict[str, Any]:
        try:
            said = read_json(self.folder.stop_file)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}
