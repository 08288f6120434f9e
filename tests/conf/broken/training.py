"""Cases of adapters, their targets, modules trained whole, optimisers and schedules."""

from tests.conf.broken import GPU, LOCAL, NODE, Case

_MOE = "model=mixtral_8x7b cluster=8xh100"
_GATE_UP = "mlp.experts.gate_up_proj"

BROKEN: dict[str, list[Case]] = {
    "lora-alone": [
        Case(f"{LOCAL} adapter=adalora", {"adapter.dora": True}, "adapter.dora", "adapter.kind=lora"),
        Case(f"{LOCAL} adapter=vera", {"adapter.init": "pissa"}, "adapter.init", "adapter.kind=vera"),
        Case(f"{LOCAL} adapter=full", {"adapter.loraplus_ratio": 16.0}, "adapter.loraplus_ratio", "option of LoRA"),
    ],
    "adapter-unused": [
        Case(f"{LOCAL} adapter=full", {"adapter.r": 8}, "adapter.r", "no effect"),
        Case(LOCAL, {"adapter.last_layers": 2}, "adapter.last_layers", "adapter.kind=lora"),
    ],
    "quantisation-unused": [
        Case(LOCAL, {"adapter.quant_type": "fp4"}, "adapter.quant_type", "adapter.bits=4"),
        Case(LOCAL, {"adapter.loftq_bits": 8}, "adapter.loftq_bits", "adapter.init=loftq"),
    ],
    "freeze-choice": [
        Case(f"{LOCAL} adapter=freeze", {"adapter.last_layers": None}, "adapter.last_layers", "trains nothing"),
    ],
    "freeze-layers": [
        Case(f"{LOCAL} adapter=freeze", {"adapter.last_layers": 31}, "adapter.last_layers", "30 or fewer"),
    ],
    "adapter-layers": [Case(LOCAL, {"adapter.layers": [0, 30]}, "adapter.layers", "layers 0 to 29")],
    "adalora-rank": [
        Case(f"{LOCAL} adapter=adalora", {"adapter.init_r": 16}, "adapter.init_r", "adapter.init_r=24"),
    ],
    "adalora-sharding": [
        *(Case(f"{NODE} adapter=adalora", {"parallel.strategy": zero}, "parallel.strategy", "parallel=ddp")
          for zero in ("zero1", "zero2", "zero3")),
        Case(f"{NODE} adapter=adalora", {"parallel.strategy": "fsdp2"}, "parallel.strategy", "adapter=lora"),
    ],
    "vera-sharding": [
        Case(f"{NODE} adapter=vera", {"parallel.strategy": "fsdp2"}, "parallel.strategy", "parallel=zero3"),
        Case(f"{NODE} parallel=fsdp2 adapter.bits=4", {"adapter.kind": "vera"}, "parallel.strategy", "parallel=zero2"),
    ],
    "output-sharding": [
        Case(f"{NODE} parallel=fsdp2", {"adapter.modules_to_save": ["embed_tokens", "lm_head"]}, "parallel.strategy",
             "use parallel=zero3 or parallel=ddp"),
        Case(f"{NODE} adapter=qlora adapter.modules_to_save=[lm_head]", {"parallel.strategy": "fsdp2"},
             "parallel.strategy", "use parallel=ddp or parallel=zero2"),
    ],
    "orthogonal-rank": [
        Case(f"{LOCAL} adapter.init=orthogonal", {"adapter.r": 7}, "adapter.r", "use 8"),
    ],
    "rank-first-values": [
        Case(f"{LOCAL} adapter=pissa", {"adapter.r": 200}, "adapter.r", "adapter.r=192"),
    ],
    "rank-size": [Case(LOCAL, {"adapter.r": 192}, "adapter.r", "adapter.r=48")],
    "target-unknown": [
        Case(LOCAL, {"adapter.targets": ["q_proj", "vproj"]}, "adapter.targets", "did you mean v_proj"),
        Case("model=phi3_mini cluster=1xh100", {"adapter.targets": ["q_proj"]}, "adapter.targets", "qkv_proj"),
        Case(LOCAL, {"adapter.targets": ["input_layernorm"]}, "adapter.targets", "no linear layer"),
    ],
    "target-half-experts": [Case(_MOE, {"adapter.targets": ["q_proj", "w1"]}, "adapter.targets", "w1 and w3")],
    "target-experts-dora": [Case(_MOE, {"adapter.dora": True}, "adapter.dora", "k_proj,o_proj,q_proj,v_proj")],
    "target-experts-dropout": [
        Case(_MOE, {"adapter.dropout": 0.1}, "adapter.dropout", "adapter.dropout=0"),
        Case(
            "model=qwen2_57b_a14b cluster=8xh100 adapter.target_parameters=[mlp.experts.down_proj]",
            {"adapter.dropout": 0.1}, "adapter.dropout", "adapter.target_parameters",
        ),
    ],
    "target-experts-init": [Case(_MOE, {"adapter.init": "pissa"}, "adapter.init", "adapter.init=default")],
    "target-experts-layers": [
        Case(_MOE, {"adapter.layers": [0]}, "adapter.layers", "adapter.target_parameters=[mlp.experts.gate_up_proj"),
        Case(f"{_MOE} adapter.layers=[0] adapter.targets=[q_proj] adapter.target_parameters=[{_GATE_UP}]",
             {"adapter.targets": ["q_proj", "gate"]}, "adapter.layers", "(adapter.targets=[k_proj,o_proj,"),
    ],
    "target-experts-alone": [
        *(Case(f"{_MOE} adapter.targets=[w1,w2,w3]", {"adapter.kind": kind}, "adapter.targets", "adapter=lora")
          for kind in ("adalora", "vera", "ia3")),
    ],
    "target-output": [
        Case(LOCAL, {"adapter.targets": ["q_proj", "lm_head"]}, "adapter.targets", "adapter.modules_to_save=[lm_head]"),
        Case(f"{NODE} parallel=fsdp2", {"adapter.targets": ["q_proj", "lm_head"]}, "adapter.targets",
             "adapter.modules_to_save=[lm_head] with parallel=zero3"),
    ],
    "target-embedding": [
        Case(f"{LOCAL} adapter=vera", {"adapter.targets": ["q_proj", "embed_tokens"]}, "adapter.targets", "embedding"),
    ],
    "target-experts-missed": [
        Case(_MOE, {"adapter.targets": ["q_proj", "v_proj"]}, "adapter.targets", "add all-linear"),
        *(Case(f"{_MOE} adapter.targets=[q_proj,w1,w2,w3]", {"adapter.kind": kind}, "adapter.targets",
               "though w1, w2, w3 in adapter.targets name them") for kind in ("adalora", "vera", "ia3")),
        Case(f"{_MOE} adapter.targets=[all-linear]", {"adapter.kind": "vera"}, "adapter.targets", "adapter=lora can"),
        Case(
            f"model=qwen2_57b_a14b cluster=8xh100 adapter.target_parameters=[{_GATE_UP}]",
            {"adapter.target_parameters": []}, "adapter.targets", "adapter.target_parameters=[mlp.experts",
        ),
    ],
    "parameter-unknown": [
        Case(_MOE, {"adapter.target_parameters": ["mlp.experts.gate_up"]}, "adapter.target_parameters", _GATE_UP),
        Case(LOCAL, {"adapter.target_parameters": ["q_proj"]}, "adapter.target_parameters", "q_proj.weight"),
    ],
    "modules-unknown": [
        Case(LOCAL, {"adapter.modules_to_save": ["embed_token", "lm_head", "embed_tokens"]}, "adapter.modules_to_save",
             "did you mean embed_tokens"),
        Case(LOCAL, {"adapter.modules_to_save": ["score"]}, "adapter.modules_to_save", "no module 'score'"),
    ],
    "modules-targeted": [
        Case(LOCAL, {"adapter.modules_to_save": ["q_proj"]}, "adapter.modules_to_save", "adapter.targets"),
    ],
    "modules-tied": [
        Case(LOCAL, {"adapter.modules_to_save": ["lm_head"]}, "adapter.modules_to_save", "[embed_tokens,lm_head]"),
        Case("model=llama3_2_1b cluster=8xh100 parallel=fsdp2", {"adapter.modules_to_save": ["embed_tokens"]},
             "adapter.modules_to_save", "[embed_tokens,lm_head] with parallel=zero3"),
    ],
    "vocabulary-growth": [
        Case(GPU, {"model.added_tokens": ["<|a|>"]}, "model.added_tokens", "[embed_tokens,lm_head]"),
        Case(f"{NODE} parallel=fsdp2", {"model.added_tokens": ["<|a|>"]}, "model.added_tokens",
             "[embed_tokens,lm_head] with parallel=zero3"),
        Case(f"{LOCAL} adapter=freeze", {"model.added_tokens": ["<|a|>"]}, "model.added_tokens", "adapter.unfrozen"),
    ],
    "unfrozen-unknown": [
        Case(f"{LOCAL} adapter=freeze", {"adapter.unfrozen": ["layers.0"]}, "adapter.unfrozen", "model.layers.29"),
        Case(f"{LOCAL} adapter=freeze", {"adapter.unfrozen": ["lm_head"]}, "adapter.unfrozen", "matches no parameter"),
        Case(f"{LOCAL} adapter=freeze", {"adapter.unfrozen": ["("]}, "adapter.unfrozen", "no regular expression"),
    ],
    "optimizer-fsdp2": [
        Case(f"{NODE} parallel=fsdp2", {"method.optimizer": "adamw_8bit"}, "method.optimizer", "parallel=zero2"),
        Case(f"{NODE} method.optimizer=adafactor", {"parallel.strategy": "fsdp2"}, "method.optimizer", "parallel=ddp"),
    ],
    "optimizer-zero": [
        Case(f"{NODE} parallel=zero2", {"method.optimizer": "muon"}, "method.optimizer", "flat pieces"),
        Case(f"{NODE} parallel=zero1", {"method.optimizer": "schedule_free"}, "method.optimizer", "parallel=ddp"),
    ],
    "optimizer-low-rank": [Case(LOCAL, {"method.optimizer": "galore"}, "method.optimizer", "adapter=full")],
    "optimizer-paged": [
        Case(LOCAL, {"method.optimizer": "paged_adamw_8bit"}, "method.optimizer", "method.optimizer=adamw_8bit"),
    ],
    "optimizer-rate": [
        Case(LOCAL, {"method.optimizer": "lion"}, "method.learning_rate", "method.learning_rate=1.9e-04"),
    ],
    "optimizer-unused": [
        Case(f"{LOCAL} method.optimizer=adafactor", {"method.epsilon": 1e-9}, "method.epsilon", "adafactor"),
    ],
    "embedding-rate": [
        Case(LOCAL, {"method.embedding_learning_rate": 1e-5}, "method.embedding_learning_rate", "trains no embedding"),
    ],
    "neftune-packing": [
        Case(f"{LOCAL} data.packing=true", {"method.neftune_alpha": 5.0}, "method.neftune_alpha", "less noise"),
    ],
    "warmup-steps": [
        Case(f"{LOCAL} method.warmup=100.0", {"method.max_steps": 50}, "method.warmup", "method.warmup=5"),
    ],
    "schedule-unused": [
        Case(LOCAL, {"method.min_lr_ratio": 0.2}, "method.min_lr_ratio", "cosine_with_min_lr"),
        Case(f"{LOCAL} method.schedule=constant", {"method.warmup": 10.0}, "method.warmup", "constant_with_warmup"),
    ],
    "schedule-optimizer": [
        Case(f"{LOCAL} method.optimizer=schedule_free", {"method.schedule": "linear"}, "method.schedule", "free"),
    ],
    "schedule-parts": [
        Case(f"{LOCAL} method.schedule=wsd method.warmup=0.2", {"method.decay": 0.9}, "method.decay", "decay=0.8"),
    ],
}  # fmt: skip
