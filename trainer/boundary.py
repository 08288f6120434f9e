"""The step boundary: where all workers learn, in one collective, what others ask of the run."""

from dataclasses import dataclass
from typing import Literal

from conf.folder import RunFolder, read_json

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


class Boundary:
    """Looks for RUN/stop and RUN/save on rank 0 and makes all ranks agree on them."""

    def __init__(self, folder: RunFolder, rank: int, world: int) -> None:
        self.folder = folder
        self.rank = rank
        self.world = world

    def agree(self, tokens: int) -> Agreed:
        """Called by every rank after each step with its own number of tokens. A collective on a CPU tensor."""
        asked = (False, False)
        if self.rank == 0:
            asked = (self.folder.stop_file.exists(), self.folder.save_file.exists())
        if self.world == 1:
            return Agreed(tokens, *asked)
        import torch

        # A sum serves for the flags, too: any rank that has one raises it for all.
        flags = torch.tensor([tokens, int(asked[0]), int(asked[1])], dtype=torch.int64)
        torch.distributed.all_reduce(flags)
        total, stop, save = (int(value) for value in flags.tolist())
        return Agreed(total, stop > 0, save > 0)

    def reason(self) -> Reason:
        """Why the run is asked to stop; `stopped` where the file says nothing that we know."""
        try:
            said = read_json(self.folder.stop_file).get("reason")
        except (ValueError, AttributeError):
            said = None
        return "pruned" if said == "pruned" else "stopped"
