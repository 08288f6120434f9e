"""How a model is laid over workers: what each layout means to the libraries, and proof that it ran."""

import os
import sys
from typing import Any

from conf.schema.run import RunConfig
from trainer.failure import WorkerError

ZERO = {"zero1": 1, "zero2": 2, "zero3": 3}
"""Layouts that are DeepSpeed's, and its numbers for them (Rajbhandari et al. 2020, arXiv:1910.02054)."""


def is_distributed(config: RunConfig, world: int) -> bool:
    """Whether workers form a process group. A lone CPU worker with nothing to shard needs none."""
    return world > 1 or config.parallel.strategy != "ddp" or config.gpu.device == "cuda"


def prepare_environment(config: RunConfig, world: int) -> None:
    """Set what torch, accelerate and DeepSpeed read when they are imported. Call before any of them is."""
    environment = os.environ
    if config.gpu.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment["DS_ACCELERATOR"] = "cpu"
    if not is_distributed(config, world):
        # accelerate takes LOCAL_RANK alone for a distributed world.
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            environment.pop(name, None)
    if config.parallel.strategy == "fsdp2" and config.adapter.bits is None:
        # With these transformers reads the weights in one process of a node alone; accelerate would set them too late.
        environment["ACCELERATE_USE_FSDP"] = "true"
        environment["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "true"
    if config.parallel.strategy in ZERO:
        # DeepSpeed compiles an extension with ninja, which lies beside the interpreter, activated or not.
        environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment.get("PATH", os.defpath)
    local_world = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    threads = config.cluster.cpu_threads or max(1, len(os.sched_getaffinity(0)) // local_world)
    environment.setdefault("OMP_NUM_THREADS", str(threads))


def fsdp_arguments(config: RunConfig) -> dict[str, Any]:
    """transformers' fsdp_config: each decoder layer is gathered when it computes, and dropped after it.

    State is saved sharded, of a LoRA run its adapter alone. Full-precision weights are read by one process of a node
    and broadcast; quantised ones cannot be, so that every process reads them.
    """
    found: dict[str, Any] = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": config.parallel.reshard,
        "state_dict_type": "SHARDED_STATE_DICT",
        "cpu_ram_efficient_loading": config.adapter.bits is None,
        # accelerate's own recomputation forgets the state of dropout; transformers' does not.
        "activation_checkpointing": False,
    }
    if config.parallel.offload == "parameters":
        if config.gpu.device == "cpu":
            raise WorkerError(
                "parallel.offload=parameters with parallel=fsdp2 moves weights from a GPU to host memory, and there is "
                "no GPU: use parallel.offload=none"
            )
        found["cpu_offload"] = True
    return found


def deepspeed_arguments(config: RunConfig) -> dict[str, Any]:
    """DeepSpeed's config for zero1, zero2 and zero3, in numbers, never "auto".

    `train_batch_size` is left out: DeepSpeed computes it, and ZeRO-3's loading of a model dies of an "auto" there.
    What is offloaded is stepped on the CPU by the run's own optimiser, not by DeepSpeed's, which has to be compiled on
    the node.
    """
    stage = ZERO[config.parallel.strategy]
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": config.gpu.device == "cuda", "contiguous_gradients": True}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    host = {"device": "cpu", "pin_memory": config.gpu.device == "cuda"}
    if config.parallel.offload != "none":
        zero["offload_optimizer"] = host
    if config.parallel.offload == "parameters":
        zero["offload_param"] = host
    return {
        "train_micro_batch_size_per_gpu": config.batch.micro,
        "gradient_accumulation_steps": config.batch.accumulation,
        "gradient_clipping": config.method.max_grad_norm,
        "bf16": {"enabled": config.precision.compute == "bf16"},
        "fp16": {"enabled": config.precision.compute == "fp16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def use_fsdp_on_cpu(accelerator: Any, plugin: Any) -> None:
    """Make accelerate shard over CPU workers, too.

    accelerate 1.15 switches to FSDP for a list of device kinds that CPUs are not on, and falls back to DDP without a
    word; everything behind that switch works on CPUs with gloo. What it would have set is set here.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    if accelerator.state.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.state.mixed_precision)
    accelerator.state.fsdp_plugin = plugin
    accelerator.state.distributed_type = DistributedType.FSDP
    PartialState().distributed_type = DistributedType.FSDP


def check_layout(strategy: str, world: int, model: Any, optimizer: Any) -> None:
    """Raise WorkerError unless the model, as it will train, is laid over `world` workers as `strategy` says.

    `model` is what the training loop calls, `optimizer` what it steps."""
    # torch.compile wraps what it compiles.
    model = getattr(model, "_orig_mod", model)
    if strategy == "zero3":
        problem = _zero3(world, model, optimizer)
    elif strategy in ZERO:
        problem = _zero12(ZERO[strategy], world, model)
    else:
        problem = (_dtensors if strategy == "fsdp2" else _whole_copies)(world, model, optimizer)
    if problem is not None:
        raise WorkerError(
            f"parallel={strategy} was asked for, but {problem}: nothing was trained. Use parallel=ddp, or report this"
        )


def _whole_copies(world: int, model: Any, optimizer: Any) -> str | None:
    from torch.nn.parallel import DistributedDataParallel

    if world > 1 and not isinstance(model, DistributedDataParallel):
        return f"the model is a {type(model).__name__} that does not exchange gradients"
    return None


def _dtensors(world: int, model: Any, optimizer: Any) -> str | None:
    from torch.distributed.tensor import DTensor

    for name, parameter in model.named_parameters():
        if not isinstance(parameter, DTensor):
            return f"{name} is a whole copy on every worker"
        if not any(placement.is_shard() for placement in parameter.placements):
            return f"{name} lies on every worker as {parameter.placements}"
        if parameter.device_mesh.size() != world:
            return f"{name} is sharded over {parameter.device_mesh.size()} of {world} workers"
    if any(not isinstance(value, DTensor) for group in optimizer.param_groups for value in group["params"]):
        return "the optimiser holds whole parameters"
    return None


def _zero12(stage: int, world: int, model: Any) -> str | None:
    problem = _stage(stage, model)
    if problem is not None:
        return problem
    total = sum(value.numel() for value in model.module.parameters() if value.requires_grad)
    mine = sum(part.numel() for part in model.optimizer.single_partition_of_fp32_groups)
    # Partitions are padded to be equal and aligned.
    allowed = total / world * 1.1 + 4096
    return f"one of {world} workers holds {mine} of {total} optimiser states" if mine > allowed else None


def _zero3(world: int, model: Any, optimizer: Any) -> str | None:
    problem = _stage(3, model)
    if problem is not None:
        return problem
    for name, parameter in model.module.named_parameters():
        if not hasattr(parameter, "ds_tensor"):
            return f"{name} is a whole copy on every worker"
        if parameter.ds_tensor.numel() > -(-parameter.ds_numel // world):
            return f"one worker holds {parameter.ds_tensor.numel()} of the {parameter.ds_numel} values of {name}"
    return None


def _stage(wanted: int, model: Any) -> str | None:
    stage = getattr(model, "zero_optimization_stage", None)
    if stage is None:
        return f"the model is a {type(model).__name__}, not a DeepSpeed engine"
    return None if stage() == wanted else f"DeepSpeed runs stage {stage()}"
