"""`python -m trainer chat RUN ["prompt"]`: talk to what a run has trained."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer.data.tokenizer import load_tokenizer, tokenizer_of
from trainer.errors import PreparationError
from trainer.failure import WorkerError
from trainer.quiet import no_progress_bars, quieten


def main(argv: list[str]) -> int:
    """Answer one prompt, or the lines of stdin as one conversation. Returns 0, or 2 where there is none to talk to."""
    options = _parser().parse_args(argv)
    folder = RunFolder(options.run)
    try:
        config = folder.config()
        weights, adapter = what_to_load(folder, config, options.base)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            os.environ[name] = "1"
        quieten()
        no_progress_bars()
        words = tokenizer_of(folder.manifest().get("assets", {}), weights) if options.base else adapter or weights
        speaker = Speaker(weights, adapter, words, _here(config), options.max_new_tokens, quiet=options.json)
        turns = []
        for prompt in [options.prompt] if options.prompt is not None else _lines():
            turns.append({"prompt": prompt, "answer": speaker.answer(prompt)})
    except (WorkerError, PreparationError, FileNotFoundError, ValidationError) as error:
        print(_words(folder, error), file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"run": folder.id, "base": options.base, "turns": turns}, ensure_ascii=False))
    return 0


def what_to_load(folder: RunFolder, config: RunConfig, base: bool) -> tuple[Path, Path | None]:
    """Folder of the weights and folder of the adapter (None: no adapter), or, with `base`, of the untrained model.

    Raises WorkerError while the run has not come to its end."""
    whole = not config.adapter.is_peft
    artefact = folder.model if whole else folder.adapter
    store = Path(folder.manifest().get("assets", {}).get("model", {}).get("path", folder.path / "no-assets"))
    if not base and not artefact.is_dir():
        status = folder.result().get("status", "not finished")
        raise WorkerError(f"run {folder.id} is {status} and has no {artefact.name} yet: see python -m launcher status")
    if (base or not whole) and not store.is_dir():
        raise WorkerError(
            f"the base weights of {folder.id} are not in the store: run python -m trainer prepare {folder.path}"
        )
    if base:
        return store, None
    return (artefact, None) if whole else (store, artefact)


class Speaker:
    """A model in a conversation. Greedy, so that the same words get the same answer."""

    def __init__(
        self, weights: Path, adapter: Path | None, words: Path, config: RunConfig, most: int, quiet: bool
    ) -> None:
        """`words` is the folder of the tokenizer."""
        from trainer import model, vocabulary

        if adapter is not None:
            config = model.base_of_artefact(config)
        self.tokenizer = load_tokenizer(words, config.model)
        self.model = model.load_model(weights, config)
        vocabulary.grow(self.model, len(self.tokenizer))
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, str(adapter))
        if config.adapter.bits is None:
            self.model.to(config.gpu.device)
        self.model.eval()
        self.most = most
        self.quiet = quiet
        self.messages: list[dict[str, str]] = []

    def answer(self, prompt: str) -> str:
        """The model's next words, printed as they come unless quiet."""
        from transformers import TextStreamer

        self.messages.append({"role": "user", "content": prompt})
        inputs = self._tokens(prompt)
        stream = None if self.quiet else TextStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        out = self.model.generate(
            **inputs,
            max_new_tokens=self.most,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self._ends(),
            streamer=stream,
        )
        text: str = self.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        self.messages.append({"role": "assistant", "content": text})
        return text

    def _tokens(self, prompt: str) -> Any:
        """Input tensors of shape (1, tokens); plain text goes to a model without a chat template."""
        if self.tokenizer.chat_template is None:
            inputs = self.tokenizer(prompt, return_tensors="pt")
        else:
            inputs = self.tokenizer.apply_chat_template(
                self.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        return inputs.to(self.model.device)

    def _ends(self) -> list[int]:
        """Tokens that end an answer: the model's and the tokenizer's."""
        known = self.model.generation_config.eos_token_id
        ends = set(known if isinstance(known, list) else [known]) | {self.tokenizer.eos_token_id}
        return sorted(token for token in ends if token is not None)


def _here(config: RunConfig) -> RunConfig:
    """The config for the machine that talks, which need not be one that trained."""
    import torch

    here = config.model_copy(deep=True)
    here.gpu.device = "cuda" if torch.cuda.is_available() else "cpu"
    here.precision.compute = "bf16" if here.gpu.device == "cuda" else "fp32"
    here.parallel.strategy = "ddp"
    if here.model.attention == "flash_attention_2" and here.gpu.device == "cpu":
        here.model.attention = "auto"
    return here


def _lines() -> Iterator[str]:
    """Lines of stdin that say something; at a terminal, with a sign that it is the person's turn."""
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


def _words(folder: RunFolder, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{folder.path} is no run folder: give one, as runs/NAME; python -m launcher status lists them"
    if isinstance(error, ValidationError):
        return f"{folder.config_file} is not a run's config: {error}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer chat", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("prompt", nargs="?", help="what to say; without it, lines of stdin are one conversation")
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N", help="longest answer, in tokens (256)")
    parser.add_argument("--base", action="store_true", help="talk to the model as it was before training")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser
