"""Groups `cluster`, `gpu` and `parallel`: the machines, the devices, and how a model is laid over them."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from conf.schema.base import TIME_LIMIT, Group


class ClusterConfig(Group):
    """Where and on how many devices a run trains."""

    name: str = ""
    """Name of this option."""
    kind: Literal["local", "slurm", "here"] = "slurm"
    """local: this machine. slurm: a batch job. here: inside the present salloc or sbatch allocation."""
    nodes: PositiveInt = 1
    """Number of nodes."""
    devices_per_node: PositiveInt = 1
    """Workers on each node, one a device."""
    time: str = Field("1-00:00:00", pattern=TIME_LIMIT)
    """Time limit as Slurm reads it: `minutes`, `hours:minutes:seconds` or `days-hours:minutes:seconds`."""
    cpu_threads: PositiveInt | None = None
    """Threads of one worker; None shares the CPUs that the process may use among the workers of its node."""


class GpuConfig(Group):
    """Facts of one device."""

    name: str = "none"
    """Name of this option."""
    device: Literal["cpu", "cuda"] = "cpu"
    """What torch runs on."""
    type: str | None = None
    """Name of the device in Slurm's generic resources, as in `gpu:h100:8`; None requests no device."""
    memory_gib: PositiveFloat | None = None
    """Device memory in GiB (2**30 bytes) as the driver reports it while nothing runs; None for a CPU."""
    bf16_tflops: PositiveFloat | None = None
    """Peak bf16 rate of the matrix units in 1e12 operations a second, without sparsity."""
    bandwidth_gb_s: PositiveFloat | None = None
    """Peak memory bandwidth in 1e9 bytes a second."""
    compute_capability: PositiveFloat | None = None
    """NVIDIA's number of the generation, as 9.0 of Hopper: bf16 and flash-attn need 8.0. None for other makers."""
    source: str = ""
    """Public page that the facts above were taken from."""


class ParallelConfig(Group):
    """How parameters, gradients and optimiser states are laid over the workers."""

    strategy: Literal["auto", "ddp", "fsdp2", "zero1", "zero2", "zero3"] = "auto"
    """ddp: a whole copy each. fsdp2: parameters sharded by torch. zero1, zero2, zero3: DeepSpeed's sharding of the
    optimiser's states, of gradients too, of parameters too. auto: ddp where a copy fits one device, else fsdp2; the
    derived value is frozen."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What rests in host memory. optimizer: its states (zero1, zero2, zero3). parameters: parameters and optimiser
    states (zero3, fsdp2)."""
    reshard: bool = True
    """fsdp2: drop gathered parameters after the forward pass. false keeps them until the backward pass: faster, with
    more memory."""
