"""Which entry of the catalogue has the shape of a hub id: publishers' own ids, base and tuned, and known mirrors."""

import re
from dataclasses import dataclass
from functools import cache

from conf.schema.model import Architecture
from launcher.options import CONF
from launcher.yaml_files import read_values

_PUBLISHERS = (
    "meta-llama", "mistralai", "qwen", "google", "microsoft", "codellama", "bigcode", "01-ai", "ibm-granite",
    "huggingfacetb", "allenai", "deepseek-ai",
)  # fmt: skip
_MIRRORS = (
    "nousresearch",
    "unsloth",
    "axolotl-ai-co",
    "axolotl-quants",
    "mistral-community",
    "alpindale",
    "imone",
    "thebloke",
)
"""Owners who publish copies of others' weights under their names, ungated. What they tuned has other names."""
_VARIANT = re.compile(r"-(instruct|chat|it|pt|hf|base)(?=-|$)")
"""Parts of a name that say how the weights were tuned, not what shape they have."""
_QUANTISED = re.compile(r"(-unsloth)?-bnb-4bit$|-bnb-nf4(-bf16)?$", re.IGNORECASE)
_OTHER_FORMAT = re.compile(r"gptq|awq|gguf|exl2|fp8|nvfp4|mxfp4|-int[48]|[48]bit", re.IGNORECASE)
_ALIASES = {
    "gemma-2b": "gemma_2b",
    "gemma-7b": "gemma_7b",
    "starcoder2-15b": "starcoder2_15b",
    "mistral-7b-v0.3": "mistral_7b",
    "mistral-small-24b-2501": "mistral_small_24b",
    "mistral-small-2409": "mistral_small_22b",
    "mistral-nemo-2407": "mistral_nemo_12b",
    "llama-2-7b-fp16": "llama2_7b",
    "llama-2-13b-fp16": "llama2_13b",
    "llama-2-70b-fp16": "llama2_70b",
    "mixtral-8x22b": "mixtral_8x22b",
    "mixtral-8x7b": "mixtral_8x7b",
    "deepseek-r1-distill-llama-8b": "llama3_1_8b",
    "deepseek-r1-distill-llama-70b": "llama3_3_70b",
}
"""Further names, stripped of what says how the weights were tuned. CodeLlama's Python variants have another vocabulary,
and so are none."""


@dataclass(frozen=True)
class Entry:
    """What an import needs of an entry of the catalogue."""

    name: str
    id: str
    targets: tuple[str, ...]
    """Every linear layer of a decoder layer, by the last part of its name; empty where the entry does not say."""
    shape: Architecture | None
    """Numbers of the architecture; None for an entry of any."""
    template: str


@dataclass(frozen=True)
class Weights:
    """A base model as the new recipe names it."""

    id: str
    entry: Entry | None
    """Entry of the same shape; None takes model=hf."""
    quantised: str = ""
    """The id as it was, where it named a 4-bit copy of `id`."""

    @property
    def is_other_format(self) -> bool:
        """Whether the id names weights in a format that training does not start from (GPTQ, AWQ, GGUF)."""
        return bool(_OTHER_FORMAT.search(self.id.rpartition("/")[2]))

    @property
    def is_mirror(self) -> bool:
        """Whether the id names a copy, for which nobody asks for a licence."""
        return self.id.partition("/")[0].lower() in _MIRRORS

    @property
    def looks_tuned(self) -> bool:
        """Whether the id names weights tuned for conversation, which have a chat template of their own."""
        name = self.id.rpartition("/")[2].lower()
        return bool(re.search(r"instruct|chat|[-_]it\b|hermes|zephyr|dolphin|openchat|assistant|sft|dpo|qwen", name))


@cache
def entries() -> dict[str, Entry]:
    """The catalogue's entries by name."""
    found = {}
    for file in sorted((CONF / "model").glob("*.yaml")):
        values = read_values(file)
        if "id" in values:
            shape = values.get("architecture")
            found[file.stem] = Entry(
                file.stem,
                values["id"],
                tuple(values.get("targets", ())),
                Architecture.model_validate(shape) if shape else None,
                values.get("chat_template", "tokenizer"),
            )
    return found


@cache
def _by_shape() -> dict[str, str]:
    return {_plain(entry.id): name for name, entry in entries().items()} | _ALIASES


def find(base_model: str) -> Weights:
    """The weights that a base_model names. A copy in bitsandbytes' 4 bits is its unquantised original."""
    plain = _QUANTISED.sub("", base_model)
    quantised = base_model if plain != base_model else ""
    if quantised:
        plain = plain.replace("hugging-quants/", "meta-llama/")
    owner, slash, name = plain.rpartition("/")
    if slash and owner.lower() in (*_PUBLISHERS, *_MIRRORS) and not _OTHER_FORMAT.search(name.removesuffix("-fp16")):
        entry = _by_shape().get(_plain(plain))
        if entry is not None:
            return Weights(plain, entries()[entry], quantised)
    return Weights(plain, None, quantised)


def _plain(id: str) -> str:
    name = id.rpartition("/")[2].lower().replace("_", "-").replace("qwen2.5-coder-", "qwen2.5-")
    return _VARIANT.sub("", name).removeprefix("meta-")
