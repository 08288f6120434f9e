"""Cases of rows, formats, sequence length, intervals, tracking and what an offline run may reach."""

from tests.conf.broken import GPU, LOCAL, NODE, Case

_FILE = f"{LOCAL} data=file data.path={{folder}}/rows.jsonl"
_PROMPT = f"{_FILE} data.format=prompt data.prompt=alpaca"
_HUB = f"{LOCAL} data=hub data.path=owner/name"

BROKEN: dict[str, list[Case]] = {
    "data-path": [
        Case(_FILE, {"data.path": None}, "data.path", "data.path=FILE"),
        Case(_FILE, {"data.path": "{folder}/none.jsonl"}, "data.path", "there is no file"),
        Case(_FILE, {"data.path": "{folder}/*.csv"}, "data.path", "no file is named like"),
        Case(_FILE, {"data.path": "ftp://host/rows.jsonl"}, "data.path", "no kind of address that is read"),
        Case(_FILE, {"data.path": "https://me:secret@host/rows.jsonl"}, "data.path", "credentials in the environment"),
        Case(_FILE, {"data.path": "https://host/r.jsonl?X-Amz-Signature=1"}, "data.path", "credentials in the env"),
        Case(_FILE, {"data.path": "{folder}/rows.md"}, "data.path", "is none of"),
        Case(_FILE, {"data.path": "{folder}/model"}, "data.path", "no file of rows"),
        Case(_FILE, {"data.eval_path": "{folder}/none.jsonl"}, "data.eval_path", "there is no file"),
        Case(LOCAL, {"data.path": "x.jsonl"}, "data.path", "data=file"),
        Case(_HUB, {"data.path": None}, "data.path", "OWNER/NAME"),
        Case(_HUB, {"data.path": "a/b/c"}, "data.path", "is no hub id"),
        Case(LOCAL, {"data.source": "sets", "data.sets": [{"path": "{folder}/none.jsonl"}]}, "data.sets", "item 1"),
        Case(LOCAL, {"data.source": "sets", "data.sets": [{}]}, "data.sets", "has no path"),
    ],
    "data-sets": [
        Case(LOCAL, {"data.source": "sets"}, "data.sets", "data.sets=["),
        Case(LOCAL, {"data.sets": [{"path": "{folder}/rows.jsonl"}]}, "data.sets", "data.source=sets"),
    ],
    "data-offline": [Case(_HUB, {"offline": True}, "data.source", "must lie in the store")],
    "held-out-choice": [
        Case(f"{_FILE} data.eval_rows=8", {"data.eval_fraction": 0.1}, "data.eval_rows", "exclude each other"),
        Case(LOCAL, {"data.eval_rows": 8}, "data.eval_rows", "python_docs"),
    ],
    "shard-number": [
        Case(f"{_FILE} data.shards=2", {"data.shard": 2}, "data.shard", "use 1 or less"),
        Case(_FILE, {"data.shard": 1}, "data.shard", "needs data.shards"),
    ],
    "hub-unused": [Case(_FILE, {"data.subset": "en"}, "data.subset", "data=hub")],
    "streaming-steps": [Case(_FILE, {"data.streaming": True}, "method.max_steps", "method.max_steps=1000")],
    "streaming-docs": [
        Case(f"{LOCAL} method.max_steps=9", {"data.streaming": True}, "data.streaming", "data=python_docs"),
    ],
    "packing-order": [Case(f"{LOCAL} data.packing=true", {"data.order": "length"}, "data.order", "data.order=random")],
    "template-unknown": [
        Case(LOCAL, {"model.chat_template": "chatlm"}, "model.chat_template", "did you mean chatml"),
        Case(LOCAL, {"data.chat_template": "zzz"}, "data.chat_template", "no chat template of that name"),
        Case(
            LOCAL,
            {"data.source": "sets", "data.sets": [{"path": "{folder}/rows.jsonl", "chat_template": "lama3"}]},
            "data.sets", "did you mean llama3",
        ),
    ],
    "template-missing": [
        Case("model=phi2 cluster=1xh100", {"model.chat_template": "tokenizer"}, "model.chat_template", "alpaca"),
        Case(LOCAL, {"model.has_chat_template": False}, "model.chat_template", "data.format=text"),
    ],
    "template-unused": [
        Case(f"{_FILE} data.format=text", {"model.chat_template": "chatml"}, "model.chat_template", "data.format=chat"),
        Case(f"{_FILE} data.format=tokens", {"model.chat_template": "alpaca"}, "model.chat_template", "=tokens"),
    ],
    "prompt-unknown": [
        Case(_FILE, {"data.format": "prompt"}, "data.prompt", "data.prompt=alpaca"),
        Case(_PROMPT, {"data.prompt": "alpacca"}, "data.prompt", "alpaca"),
        Case(_PROMPT, {"data.prompt": "{input}"}, "data.prompt", "{instruction}"),
    ],
    "format-unused": [
        Case(f"{_FILE} data.format=text", {"data.roles": {"human": "user"}}, "data.roles", "data.format=chat"),
        Case(f"{_FILE} data.format=chat", {"data.prompt": "alpaca"}, "data.prompt", "data.format=prompt"),
    ],
    "pretrain-format": [
        Case(f"{_FILE} method=pretrain", {"data.format": "chat"}, "data.format", "method=sft"),
    ],
    "learn-unused": [
        Case(f"{LOCAL} method=pretrain", {"data.learn": "all"}, "data.learn", "every token"),
        Case(f"{_FILE} data.format=tokens", {"data.learn": "all"}, "data.learn", "rows of tokens"),
    ],
    "overlong-split": [
        Case(f"{_FILE} data.format=chat", {"data.overlong": "split"}, "data.overlong", "data.overlong=drop"),
        Case(f"{_FILE} data.format=tokens", {"data.overlong": "split"}, "data.overlong", "data.overlong=drop"),
    ],
    "context-length": [
        Case(GPU, {"data.max_length": 20000}, "data.max_length", "model.rope.factor=3"),
        Case("model=llama2_7b cluster=1xh100", {"data.max_length": 8192}, "data.max_length", "data.max_length=4096"),
        Case(
            "model=llama2_7b cluster=1xh100 data.max_length=8192 model.rope.type=yarn model.rope.factor=2.0",
            {"data.max_length": 8193}, "data.max_length", "x 2",
        ),
    ],
    "rope-complete": [
        Case(GPU, {"model.rope.type": "yarn"}, "model.rope.factor", "model.rope.factor=2.0"),
        Case(GPU, {"model.rope.factor": 2.0}, "model.rope.type", "model.rope.type=yarn"),
    ],
    "rope-twice": [
        Case("model=llama3_1_8b cluster=1xh100", {"model.rope.type": "yarn", "model.rope.factor": 2.0,
             "data.max_length": 200000}, "model.rope.type", "stretched already"),
        Case("model=llama3_1_8b cluster=1xh100", {"model.rope.type": "linear"}, "model.rope.type", "131072"),
    ],
    "rope-unneeded": [
        Case(GPU, {"model.rope.type": "yarn", "model.rope.factor": 2.0}, "model.rope.factor", "data.max_length=16384"),
        Case(f"{GPU} model.rope.type=yarn model.rope.factor=2.0 data.max_length=16384", {"data.max_length": 1024},
             "model.rope.factor", "unstretched"),
    ],
    "early-stopping-evaluation": [
        Case(LOCAL, {"method.early_stopping": 3}, "method.early_stopping", "evaluation.interval=100"),
    ],
    "early-stopping-rows": [
        Case(
            f"{_FILE} evaluation.interval=10 method.early_stopping=2",
            {"data.eval_fraction": 0.0}, "method.early_stopping", "data.eval_fraction=0.05",
        ),
        Case(
            f"{LOCAL} evaluation.interval=10 method.early_stopping=2",
            {"evaluation.max_rows": 0}, "method.early_stopping", "evaluation.max_rows=64",
        ),
    ],
    "early-stopping-steps": [
        Case(
            f"{LOCAL} evaluation.interval=50 method.early_stopping=3",
            {"method.max_steps": 120}, "evaluation.interval", "evaluation.interval=39 or less",
        ),
    ],
    "evaluation-unused": [
        Case(f"{_FILE} data.eval_fraction=0.0", {"evaluation.interval": 10}, "evaluation.interval", "no rows"),
        Case(f"{LOCAL} evaluation.interval=10", {"evaluation.max_rows": 0}, "evaluation.interval", "no rows"),
    ],
    "held-out-unused": [
        Case(f"{_FILE} data.eval_rows=8", {"evaluation.max_rows": 0}, "data.eval_rows", "evaluation.max_rows=0"),
    ],
    "evaluation-interval": [
        Case(f"{LOCAL} evaluation.interval=50", {"method.max_steps": 40}, "evaluation.interval", "=10"),
    ],
    "checkpoint-interval": [
        Case(f"{LOCAL} checkpoint.interval=50", {"method.max_steps": 40}, "checkpoint.interval", "=10"),
    ],
    "checkpoint-none": [Case(NODE, {"checkpoint.interval": None}, "checkpoint.interval", "costs the whole run")],
    "checkpoint-best": [
        Case(f"{LOCAL} evaluation.interval=10", {"checkpoint.keep_best": True, "evaluation.max_rows": 0},
             "checkpoint.keep_best", "no rows are held out"),
        Case(f"{LOCAL} checkpoint.interval=5", {"checkpoint.keep_best": True}, "checkpoint.keep_best",
             "evaluation.interval=5"),
    ],
    "checkpoint-asynchronous": [
        Case(LOCAL, {"checkpoint.asynchronous": True}, "checkpoint.asynchronous", "adapter=lora"),
        Case(f"{NODE} adapter=full parallel=zero3", {"checkpoint.asynchronous": True}, "checkpoint.asynchronous",
             "parallel=fsdp2"),
    ],
    "checkpoint-mtbf": [
        Case(LOCAL, {"checkpoint.mtbf_hours": 100.0}, "checkpoint.mtbf_hours", "checkpoint.interval=auto"),
        Case(f"{LOCAL} checkpoint.interval=auto checkpoint.mtbf_hours=100.0", {"checkpoint.per_epoch": 2.0},
             "checkpoint.mtbf_hours", "leave checkpoint.per_epoch out"),
    ],
    "per-epoch-unused": [
        Case(f"{LOCAL} checkpoint.interval=50", {"checkpoint.per_epoch": 2.0}, "checkpoint.interval", "give one"),
    ],
    "per-epoch-steps": [
        Case(
            f"{_FILE} data.streaming=true method.max_steps=9",
            {"checkpoint.per_epoch": 2.0}, "checkpoint.per_epoch", "checkpoint.interval",
        ),
    ],
    "sweep-alone": [
        Case(LOCAL, {"sweep.parallel": 4}, "sweep.parallel", "add -m"),
        Case(LOCAL, {"budget.gpu_hours": 4.0}, "budget.gpu_hours", "add -m"),
    ],
    "tracking-unused": [
        Case(LOCAL, {"tracking.entity": "team"}, "tracking.entity", "tracking=wandb"),
        Case(LOCAL, {"tracking.url": "http://x"}, "tracking.url", "tracking=mlflow"),
    ],
    "tracking-offline": [
        Case(f"{LOCAL} tracking=wandb offline=true", {"tracking.mode": "online"}, "tracking.mode", "=offline"),
    ],
    "tracking-url-offline": [
        Case(f"{LOCAL} tracking=mlflow offline=true", {"tracking.url": "https://x"}, "tracking.url", "name a folder"),
    ],
    "tracking-interval": [
        Case(f"{LOCAL} tracking.interval=50", {"method.max_steps": 40}, "tracking.interval", "tracking.interval=4"),
    ],
    "epochs-or-steps": [Case(LOCAL, {"method.epochs": 1.0, "method.max_steps": 2}, "method.epochs", "give one")],
    "model-id": [
        Case(LOCAL, {"model.id": ""}, "model.id", "model.id=OWNER/NAME"),
        Case(LOCAL, {"model.source": "folder", "model.id": "nowhere"}, "model.id", "no folder"),
        Case(LOCAL, {"model.id": "{folder}"}, "model.id", "config.json"),
        Case(GPU, {"model.source": "wheel"}, "model.source", "model.wheel.requirement"),
    ],
    "model-unknown": [Case(GPU, {"model.architecture": None}, "model.id", "not in the catalogue")],
    "special-tokens": [
        Case(LOCAL, {"model.special_tokens": {"pad": "<pad>"}}, "model.special_tokens.pad", "model.added_tokens"),
    ],
}  # fmt: skip
