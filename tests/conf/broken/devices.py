"""Cases of batch arithmetic, number formats, attention, memory, layout and the cluster."""

from tests.conf.broken import GPU, LOCAL, NODE, Case

_OLD = {"gpu.compute_capability": 7.0}
_WIDE = {
    "hidden_size": 1024, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 512, "vocab_size": 32, "max_position_embeddings": 8192,
}  # fmt: skip
_FLASH = GPU + " model.attention=flash_attention_2"
_MOE = "model=mixtral_8x7b cluster=8xh100"

BROKEN: dict[str, list[Case]] = {
    "batch-arithmetic": [
        Case(f"{NODE} cluster.nodes=2 batch.micro=2", {"batch.global": 100}, "batch.global", "96 or 128"),
        Case(LOCAL, {"batch.global": 9, "batch.micro": 2, "batch.accumulation": 4}, "batch.global", "batch.global=8"),
        Case(NODE, {"batch.global": 4}, "batch.global", "use 8"),
    ],
    "batch-evaluation-unused": [
        Case(f"{LOCAL} evaluation.max_rows=0", {"batch.evaluation": 4}, "batch.evaluation", "no effect"),
    ],
    "bf16-device": [Case(LOCAL, {"precision.compute": "bf16"}, "precision.compute", "precision.compute=fp32")],
    "bf16-generation": [
        Case(GPU, _OLD | {"precision.compute": "bf16"}, "precision.compute", "precision.compute=fp16"),
        Case(f"{GPU} precision.compute=bf16", _OLD, "precision.compute", "has 7.0"),
    ],
    "fp16-device": [Case(LOCAL, {"precision.compute": "fp16"}, "precision.compute", "precision.compute=fp32")],
    "fp16-weights": [
        Case(
            "model=smollm2_135m cluster=1xh100 adapter=full precision.weights=bf16",
            {"precision.compute": "fp16"},
            "precision.weights",
            "precision.weights=fp32",
        ),
    ],
    "fp16-range": [
        Case("model=gemma3_1b cluster=1xh100", {"precision.compute": "fp16"}, "precision.compute", "overflow"),
    ],
    "tf32-device": [Case(LOCAL, {"precision.tf32": True}, "precision.tf32", "no effect on a CPU")],
    "tf32-generation": [
        Case("model=llama3_8b cluster=1xmi300x", {"precision.tf32": True}, "precision.tf32", "not NVIDIA's"),
        Case(f"{GPU} precision.tf32=true", _OLD, "precision.tf32", "below 8.0"),
    ],
    "weights-format-unused": [Case(GPU, {"precision.weights": "bf16"}, "precision.weights", "are fp32")],
    "weights-compute": [
        Case(f"{LOCAL} adapter=full", {"precision.weights": "bf16"}, "precision.weights", "precision.weights=fp32"),
    ],
    "weights-deepspeed": [
        Case(
            "model=smollm2_135m cluster=8xh100 adapter=full parallel=zero2",
            {"precision.weights": "bf16"}, "precision.weights", "parallel=fsdp2",
        ),
    ],
    "attention-device": [Case(LOCAL, {"model.attention": "flash_attention_2"}, "model.attention", "sdpa")],
    "attention-format": [Case(_FLASH, {"precision.compute": "fp32"}, "precision.compute", "bf16")],
    "attention-generation": [
        Case(f"{_FLASH} precision.compute=fp16", _OLD, "model.attention", "has 7.0"),
        Case("model=llama3_8b cluster=1xmi300x", {"model.attention": "flash_attention_3"}, "model.attention", "mi300x"),
    ],
    "attention-head": [Case(_FLASH, {"model.architecture": _WIDE}, "model.attention", "512 wide")],
    "flex-device": [Case(LOCAL, {"model.attention": "flex_attention"}, "model.attention", "cannot train on a CPU")],
    "attention-softcapping": [
        Case("model=gemma2_2b cluster=1xh100", {"model.attention": "sdpa"}, "model.attention", "flash_attention_2"),
    ],
    "attention-memory": [
        Case(f"{GPU} model.attention=eager", {"data.max_length": 8192}, "model.attention", "GiB of attention scores"),
    ],
    "packing-remote-code": [
        Case(f"{GPU} data.packing=true", {"model.trust_remote_code": True}, "data.packing", "packed rows"),
    ],
    "weights-memory": [
        Case("model=llama3_70b cluster=8xh100", {"parallel.strategy": "ddp"}, "parallel.strategy", "131 GiB"),
        Case("model=llama3_8b cluster=1xh100 gpu=rtx4090 cluster.devices_per_node=1", {"gpu.memory_gib": 12.0},
             "parallel.strategy", "adapter=qlora"),
    ],
    "shards-memory": [
        Case("model=llama3_70b cluster=8xh100", {"gpu.memory_gib": 10.0}, "cluster.nodes", "cluster.nodes=3"),
    ],
    "training-memory": [
        Case(f"{GPU} parallel=ddp", {"adapter.kind": "full"}, "adapter.kind", "parallel=fsdp2 cluster.nodes=3"),
        Case("model=llama3_70b cluster=8xh100", {"adapter.kind": "full"}, "adapter.kind", "cluster.nodes=3 or more"),
    ],
    "offload-memory": [
        Case(
            "model=llama3_70b cluster=8xh100 parallel=zero3 parallel.offload=parameters",
            {"site.mem": "64G"}, "site.mem", "site.mem=198G",
        ),
    ],
    "offload-strategy": [
        Case(GPU, {"parallel.offload": "optimizer"}, "parallel.offload", "parallel=zero1"),
        Case(f"{NODE} parallel=zero2", {"parallel.offload": "parameters"}, "parallel.offload", "parallel=fsdp2"),
    ],
    "offload-device": [
        Case(f"{LOCAL} parallel=zero2 cluster.devices_per_node=2", {"parallel.offload": "optimizer"},
             "parallel.offload", "on a CPU"),
    ],
    "reshard-unused": [Case(NODE, {"parallel.reshard": False}, "parallel.reshard", "parallel=fsdp2")],
    "sharding-alone": [Case(GPU, {"parallel.strategy": "fsdp2"}, "parallel.strategy", "parallel=ddp")],
    "liger-device": [Case(LOCAL, {"method.liger": True}, "method.liger", "method.liger=false")],
    "liger-family": [
        Case("model=deepseek_v2_lite cluster=1xh100", {"method.liger": True}, "method.liger", "deepseek_v2"),
    ],
    "compile-sharding": [
        Case(f"{NODE} parallel=zero3", {"method.compile": True}, "method.compile", "parallel=fsdp2"),
    ],
    "quantised-full": [
        Case("model=smollm2_135m cluster=1xh100 adapter=full", {"adapter.bits": 4}, "adapter.bits", "adapter=qlora"),
        Case("model=smollm2_135m cluster=1xh100 adapter=freeze", {"adapter.bits": 8}, "adapter.bits", "freeze"),
    ],
    "random-weights-frozen": [
        Case(LOCAL, {"model.random_weights": True}, "model.random_weights", "adapter=full"),
        Case(f"{LOCAL} adapter=full model.random_weights=true", {"adapter.kind": "freeze", "adapter.last_layers": 1},
             "model.random_weights", "freeze"),
    ],
    "quantised-sharding": [
        Case(f"{NODE} parallel=zero3", {"adapter.bits": 4}, "parallel.strategy", "parallel=fsdp2"),
        Case(f"{NODE} adapter=qlora", {"parallel.strategy": "zero3"}, "parallel.strategy", "4 bits"),
    ],
    "eight-bit-fsdp2": [
        Case(f"{NODE} parallel=fsdp2", {"adapter.bits": 8}, "parallel.strategy", "adapter.bits=4"),
    ],
    "quantised-init": [
        Case(f"{GPU} adapter=qlora", {"adapter.init": "pissa"}, "adapter.init", "adapter.init=loftq"),
        Case(f"{GPU} adapter=qlora", {"adapter.init": "olora"}, "adapter.init", "adapter.init=loftq"),
        Case(f"{GPU} adapter=olora", {"adapter.bits": 8}, "adapter.init", "adapter.bits=null"),
        Case(f"{GPU} adapter=qlora", {"adapter.init": "orthogonal"}, "adapter.init", "adapter.bits=null"),
    ],
    "loftq-sharding": [Case(f"{NODE} parallel=zero3", {"adapter.init": "loftq"}, "adapter.init", "parallel=fsdp2")],
    "quantised-experts": [Case(_MOE, {"adapter.bits": 4}, "adapter.bits", "45 billion")],
    "container-image": [Case(NODE, {"site.container.kind": "pyxis"}, "site.container.image", "FILE_OR_NAME")],
    "scratch-mounted": [
        Case(
            NODE,
            {"site.container": {"kind": "pyxis", "image": "i", "mounts": ["/lo:/lo"]}, "site.scratch": "/local/{user}"},
            "site.scratch",
            "'/local:/local'",
        )
    ],
    "local-nodes": [Case(LOCAL, {"cluster.nodes": 2}, "cluster.nodes", "cluster.nodes=1")],
    "sbatch-flags": [
        Case(NODE, {"site.sbatch": {"nodes": 3}}, "site.sbatch.nodes", "cluster.nodes"),
        Case(NODE, {"site.sbatch": {"licences": "x"}}, "site.sbatch.licences", "licenses"),
    ],
    "one-line-values": [Case(NODE, {"site.partition": "a\nb"}, "site.partition", "one plain line")],
    "site-environment": [
        Case(NODE, {"site.environment": {"A B": "x"}}, "site.environment.A B", "letters"),
        Case(NODE, {"site.environment": {"HF_TOKEN": "x"}}, "site.environment.HF_TOKEN", "secret"),
    ],
    "no-secrets": [
        Case(NODE, {"site.environment": {"X": "hf_" + "a" * 30}}, "site.environment.X", "secret"),
        Case(NODE, {"site.setup": ["export WANDB_API_KEY=" + "a" * 40]}, "site.setup", "secret"),
    ],
    "time-partition": [
        Case(NODE, {"site.max_time": "12:00:00"}, "cluster.time", "cluster.time=12:00:00"),
        Case(f"{NODE} site.max_time=2-00:00:00", {"cluster.time": "2-00:01"}, "cluster.time", "2-00:00:00"),
    ],
    "time-none": [Case(NODE, {"cluster.time": "0"}, "cluster.time", "cluster.time=1-00:00:00")],
    "gpu-unrequested": [Case(NODE, {"gpu.type": None}, "gpu.type", "gpu.type=NAME")],
    "after-local": [Case(LOCAL, {"after": "other"}, "after", "Slurm")],
    "site-local": [Case(LOCAL, {"site.partition": "gpu"}, "site.partition", "no effect with cluster=local")],
    "cpus-workers": [Case(NODE, {"site.cpus_per_task": 4}, "site.cpus_per_task", "site.cpus_per_task=32")],
    "cpus-threads": [
        Case(f"{NODE} site.cpus_per_task=32", {"cluster.cpu_threads": 8}, "cluster.cpu_threads", "cpu_threads=4"),
    ],
    "cpu-devices": [Case(NODE, {"gpu.device": "cpu"}, "site.cpus_per_task", "site.cpus_per_task=32")],
}  # fmt: skip
