"""Rules of the model itself: where its weights are, and what a plan knows of it."""

import os
from collections.abc import Iterator

from conf.schema.addresses import is_remote, refusal
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")


@rule(
    "model-id",
    reads=("model.id", "model.source", "model.wheel"),
    reason="weights must be named to be found",
    fix="give model.id=OWNER/NAME or model.id=FOLDER",
    fails="the run's preparation stops: there are no weights of that name",
)
def model_id(config: RunConfig) -> Iterator[Finding]:
    model = config.model
    if not model.id:
        yield "model.id", "no model is named: add model.id=OWNER/NAME (a hub id) or model.id=FOLDER"
    elif model.source == "folder" and not os.path.isdir(model.id):
        yield "model.id", f"there is no folder {model.id}: give a folder in Transformers layout, or model.source=auto"
    elif model.source == "folder" and not os.path.isfile(os.path.join(model.id, "config.json")):
        yield "model.id", f"the folder {model.id} has no config.json: give a folder in Transformers layout"
    elif is_remote(model.id) and refusal(model.id) is not None:
        yield "model.id", f"{model.id}: {refusal(model.id)}"
    elif model.source == "wheel" and model.wheel is None:
        yield "model.source", "model.source=wheel needs model.wheel.requirement and model.wheel.file"


@rule(
    "model-unknown",
    reads=("model.id", "model.architecture", "model.source"),
    reason="nothing is fetched before submission is asked for, so the sizes of a hub model are not known to a plan",
    fix="choose a model of the catalogue, or give a folder",
    warning=True,
)
def model_unknown(config: RunConfig) -> Iterator[Finding]:
    model = config.model
    if model.id and model.architecture is None and model.source in ("auto", "hub"):
        yield (
            "model.id",
            f"{model.id} is not in the catalogue: its size is not known, and whether the hub has it shows when the run "
            "is prepared. parallel=auto takes it to fit one device, and data.max_length is not checked",
        )


@rule(
    "random-weights-frozen",
    reads=("model.random_weights", "adapter.kind"),
    reason="random weights that stay frozen know nothing that an adapter could build on",
    fix="use adapter=full, or leave model.random_weights out",
    fails="the job trains small matrices beside frozen noise: its loss stays near that of chance, without a word",
)
def random_weights_frozen(config: RunConfig) -> Iterator[Finding]:
    kind = config.adapter.kind
    if config.model.random_weights and kind != "full":
        yield (
            "model.random_weights",
            f"model.random_weights=true needs every weight trained, and adapter.kind={kind} keeps them frozen: use "
            "adapter=full, or leave model.random_weights out",
        )


@rule(
    "special-tokens",
    reads=("model.special_tokens",),
    reason="these tokens have a role in training",
    fix="use bos_token, eos_token, pad_token or unk_token; other tokens go into model.added_tokens",
    fails="a token without a role is never used as one: padding or the end of an answer stays as it was",
)
def special_tokens(config: RunConfig) -> Iterator[Finding]:
    for role in config.model.special_tokens:
        if role not in _ROLES:
            yield (
                f"model.special_tokens.{role}" if role.isprintable() else "model.special_tokens",
                f"{role!r} is no role of a token: use {', '.join(_ROLES)}, or model.added_tokens",
            )
