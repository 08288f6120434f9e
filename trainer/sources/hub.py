"""Source `hub`: a repository of the Hugging Face hub, asked once with a short limit, or what its cache holds."""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conf.schema.model import ModelConfig
from trainer.sources.errors import SourceUnavailable
from trainer.sources.files import check_shards, model_files
from trainer.sources.folder import adopt
from trainer.store import Entry, Store

log = logging.getLogger(__name__)
PROBE_SECONDS = 5.0
"""Time in all for the one question whether the hub has the model: name look-up, connection and answer."""


def from_hub(model: ModelConfig, store: Store, offline: bool) -> tuple[Entry, str]:
    """The model from the hub, and its commit.

    Downloads into the store where the hub answers; otherwise, or offline, uses the hub library's own cache where
    that has the model. Raises SourceUnavailable, PickleRefused.
    """
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # the xet client is native code with retries of its own
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if offline or HF_HUB_OFFLINE:
        why = "offline=true" if offline else "HF_HUB_OFFLINE is set"
        return _from_cache(model, store, f"it was not asked ({why}), and its cache has no such model")
    try:
        commit, names = probe(model.id, model.revision)
    except SourceUnavailable as error:
        return _from_cache(model, store, error.reason)
    files = model_files(names, f"hub repository {model.id}", model.allow_pickle, model.trust_remote_code)
    description = {"source": "hub", "id": model.id, "commit": commit, "files": files}

    def build(folder: Path) -> None:
        log.info("downloading %s from the hub: %d files", model.id, len(files))
        _download(model, commit, files, folder)
        check_shards(folder)

    return store.make("models", description, build), commit


def token() -> str | bool:
    """The hub token in the environment; False, which is none at all, where there is none."""
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or False


def ask(question: Callable[[], Any], subject: str, revision: str | None) -> Any:
    """The hub's answer to one question about `subject`, as `model owner/name`. Raises SourceUnavailable.

    In a thread of its own, since a name look-up can hang for longer than any time limit that a library offers.
    """
    # Imported outside of the limit: from a cold shared file system this takes seconds.
    import huggingface_hub  # noqa: F401
    from huggingface_hub.constants import ENDPOINT

    answer: list[Any] = []

    def put() -> None:
        try:
            answer.append(question())
        except Exception as error:  # whatever it is, it goes to the person
            answer.append(error)

    thread = threading.Thread(target=put, daemon=True, name="hub-probe")
    thread.start()
    thread.join(PROBE_SECONDS)
    if not answer:
        raise SourceUnavailable(f"{ENDPOINT} did not answer within {PROBE_SECONDS:.0f} s")
    if isinstance(answer[0], Exception):
        raise SourceUnavailable(_reason(subject, revision, answer[0]))
    return answer[0]


def probe(id: str, revision: str | None) -> tuple[str, list[str]]:
    """Commit and file names of a model's repository. Raises SourceUnavailable."""

    def question() -> Any:
        import huggingface_hub

        api = huggingface_hub.HfApi(token=token())
        return api.model_info(id, revision=revision, timeout=PROBE_SECONDS)

    info = ask(question, f"model {id}", revision)
    return str(info.sha), [sibling.rfilename for sibling in info.siblings or []]


def _reason(subject: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    id = subject.partition(" ")[2]
    if isinstance(error, GatedRepoError):
        return f"{id} is gated: accept its licence on its hub page and put a token into HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub has no {subject}, or it is private: check the name, or put a token into HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{id} has no revision {revision}"
    if isinstance(error, HFValidationError):
        return f"{id!r} is no hub id (OWNER/NAME)"
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{ENDPOINT} cannot be reached ({type(error).__name__}{': ' + first if first else ''})"


def _download(model: ModelConfig, commit: str, files: list[str], folder: Path) -> None:
    import huggingface_hub

    try:
        huggingface_hub.snapshot_download(
            model.id, revision=commit, local_dir=folder, allow_patterns=files, token=token(), max_workers=4
        )
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # another source would not fit either
        raise SourceUnavailable(f"the download broke off ({type(error).__name__}: {error})") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the library's notes on the download


def _from_cache(model: ModelConfig, store: Store, reason: str) -> tuple[Entry, str]:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = Path(huggingface_hub.snapshot_download(model.id, revision=model.revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise SourceUnavailable(reason) from None
    try:
        return adopt(snapshot, model, store), snapshot.name
    except SourceUnavailable as error:
        raise SourceUnavailable(f"{reason}; its cache is incomplete ({error.reason})") from None
