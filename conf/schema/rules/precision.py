"""Rules of number formats against the device and what is trained."""

from collections.abc import Iterator

from conf.schema.rules.reading import DEEPSPEED
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_AMPERE = 8.0
"""NVIDIA's generation from which on there are matrix units for bf16 and TF32."""


def older_than_ampere(config: RunConfig) -> bool:
    """Whether the device is an NVIDIA one without matrix units for bf16."""
    capability = config.gpu.compute_capability
    return config.gpu.device == "cuda" and capability is not None and capability < _AMPERE


@rule(
    "bf16-device",
    reads=("precision.compute", "gpu.device"),
    reason="bf16 on a CPU is emulated",
    fix="compute in fp32 on a CPU",
    warning=True,
)
def bf16_device(config: RunConfig) -> Iterator[Finding]:
    if config.precision.compute == "bf16" and config.gpu.device == "cpu":
        yield "precision.compute", "bf16 on a CPU is slow: use precision.compute=fp32"


@rule(
    "bf16-generation",
    reads=("precision.compute", "gpu.device", "gpu.compute_capability"),
    reason="NVIDIA's matrix units take bf16 since compute capability 8.0",
    fix="compute in fp16 on older devices",
    fails="torch emulates bf16 there without a word (torch.cuda.is_bf16_supported is true), without matrix units: the "
    "run is many times slower; compiled kernels (Triton, flash-attn) refuse it",
)
def bf16_generation(config: RunConfig) -> Iterator[Finding]:
    if config.precision.compute == "bf16" and older_than_ampere(config):
        yield (
            "precision.compute",
            f"precision.compute=bf16 needs compute capability 8.0, and {config.gpu.name} has "
            f"{config.gpu.compute_capability}: use precision.compute=fp16",
        )


@rule(
    "fp16-device",
    reads=("precision.compute", "gpu.device"),
    reason="fp16 needs scaled losses, which there are on GPUs alone",
    fix="compute in fp32 on a CPU",
    fails="accelerate sets up neither autocast nor a scaler for fp16 on a CPU (Accelerator.native_amp stays false): "
    "the run computes in another format than it was asked for",
)
def fp16_device(config: RunConfig) -> Iterator[Finding]:
    if config.precision.compute == "fp16" and config.gpu.device == "cpu":
        yield "precision.compute", "precision.compute=fp16 needs a GPU: use precision.compute=fp32"


@rule(
    "fp16-weights",
    reads=("precision.compute", "precision.weights", "adapter.kind"),
    reason="fp16 scales gradients of fp32 weights",
    fix="keep trained weights in fp32 with fp16, or compute in bf16",
    fails="torch.amp.GradScaler unscales neither bf16 gradients (NotImplementedError: "
    "_amp_foreach_non_finite_check_and_unscale_cuda, pytorch/pytorch#127176) nor fp16 ones (ValueError: Attempting to "
    "unscale FP16 gradients)",
)
def fp16_weights(config: RunConfig) -> Iterator[Finding]:
    precision = config.precision
    if precision.compute == "fp16" and precision.weights == "bf16" and not config.adapter.is_peft:
        yield (
            "precision.weights",
            "precision.weights=bf16 cannot be combined with precision.compute=fp16: use precision.weights=fp32, or "
            "precision.compute=bf16 where the GPU has it",
        )


@rule(
    "fp16-range",
    reads=("precision.compute", "model.architecture"),
    reason="activations of Gemma 2 and 3 leave the range of fp16 (65504)",
    fix="compute in bf16 or fp32",
    warning=True,
)
def fp16_range(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if config.precision.compute == "fp16" and shape is not None and shape.family in ("gemma2", "gemma3_text"):
        yield (
            "precision.compute",
            f"{config.model.name} was trained in bf16, and its activations overflow fp16: watch for a loss of nan, or "
            "use precision.compute=bf16 on a GPU that has it",
        )


@rule(
    "tf32-device",
    reads=("precision.tf32", "gpu.device"),
    reason="TF32 is a format of GPUs",
    fix="leave precision.tf32 out on a CPU",
    warning=True,
)
def tf32_device(config: RunConfig) -> Iterator[Finding]:
    if config.precision.tf32 and config.gpu.device == "cpu":
        yield "precision.tf32", "precision.tf32=true has no effect on a CPU: leave it out"


@rule(
    "tf32-generation",
    reads=("precision.tf32", "gpu.device", "gpu.compute_capability"),
    reason="TF32 came with compute capability 8.0, and other makers have none",
    fix="leave precision.tf32 out on this device",
    fails="TrainingArguments raises ValueError '--tf32 requires Ampere or a newer GPU arch'",
)
def tf32_generation(config: RunConfig) -> Iterator[Finding]:
    if config.precision.tf32 and config.gpu.device == "cuda":
        capability = config.gpu.compute_capability
        if capability is None or capability < _AMPERE:
            has = "is not NVIDIA's" if capability is None else f"has compute capability {capability}, below 8.0"
            yield "precision.tf32", f"precision.tf32=true is refused, since {config.gpu.name} {has}: leave it out"


@rule(
    "weights-format-unused",
    reads=("precision.weights", "adapter.kind"),
    reason="adapters are always trained in fp32",
    fix="leave precision.weights out with an adapter",
    warning=True,
)
def weights_format_unused(config: RunConfig) -> Iterator[Finding]:
    if config.precision.weights == "bf16" and config.adapter.is_peft:
        yield (
            "precision.weights",
            f"precision.weights=bf16 has no effect with adapter.kind={config.adapter.kind}, whose trained matrices are "
            "fp32: leave it out",
        )


@rule(
    "weights-compute",
    reads=("precision.compute", "precision.weights", "adapter.kind"),
    reason="weights kept in bf16 compute in bf16",
    fix="compute in bf16, or keep the weights in fp32",
    fails="without autocast the model computes in the format of its weights: all of it is bf16, without a word",
)
def weights_compute(config: RunConfig) -> Iterator[Finding]:
    precision = config.precision
    if precision.compute == "fp32" and precision.weights == "bf16" and config.adapter.kind == "full":
        yield (
            "precision.weights",
            "precision.weights=bf16 contradicts precision.compute=fp32: use precision.compute=bf16, or "
            "precision.weights=fp32",
        )


@rule(
    "weights-deepspeed",
    reads=("precision.weights", "parallel.strategy", "adapter.kind"),
    reason="DeepSpeed keeps fp32 copies of trained weights, whatever their own format",
    fix="leave precision.weights out with zero1, zero2 and zero3",
    warning=True,
)
def weights_deepspeed(config: RunConfig) -> Iterator[Finding]:
    if config.precision.weights == "bf16" and config.parallel.strategy in DEEPSPEED and not config.adapter.is_peft:
        yield (
            "precision.weights",
            f"precision.weights=bf16 saves nothing with parallel={config.parallel.strategy}, which keeps fp32 copies: "
            "use parallel=fsdp2, or leave it out",
        )
