"""Source `hub`: a repository of the Hugging Face hub, asked once with a short limit; or what the store or the hub
library's cache holds of it."""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conf.schema.model import ModelConfig
from trainer.sources.download import RemoteFile, download
from trainer.sources.errors import SourceUnavailable
from trainer.sources.files import check_shards, model_files
from trainer.sources.folder import adopt
from trainer.store import Entry, Store

log = logging.getLogger(__name__)
PROBE_SECONDS = 5.0
"""Time in all for the one question whether the hub has the model: name look-up, connection and answer."""


@dataclass(frozen=True)
class Licence:
    """Under which terms a repository is given, and who has accepted them where they must be accepted."""

    name: str = ""
    gated: bool = False
    accepted_by: str | None = None
    """Name of the hub's user whose token was let in; None where nothing had to be accepted."""


@dataclass(frozen=True)
class Repository:
    """A repository at one commit."""

    commit: str
    files: list[RemoteFile]
    licence: Licence


def from_hub(model: ModelConfig, store: Store, offline: bool) -> tuple[Entry, str]:
    """The model from the hub, and its commit.

    Downloads into the store where the hub answers; otherwise, or offline, takes what the store holds of this revision,
    else the hub library's own cache. Raises SourceUnavailable, PickleRefused, NoSpace.
    """
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # the xet client is native code with retries of its own
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if offline or HF_HUB_OFFLINE:
        why = "offline=true" if offline else "HF_HUB_OFFLINE is set"
        reason = f"it was not asked ({why}), and neither the store nor its cache has such a model"
        return _from_store(model, store) or _from_cache(model, store, reason)
    try:
        found = probe(model.id, model.revision)
    except SourceUnavailable as error:
        return _from_store(model, store) or _from_cache(model, store, error.reason)
    names = [file.name for file in found.files]
    files = model_files(names, f"hub repository {model.id}", model.allow_pickle, model.trust_remote_code)
    description = {"source": "hub", "id": model.id, "commit": found.commit, "files": files}
    entry = fetch_into(store, "models", description, model.id, found, files)
    store.also("models", pin(model), entry, notes(found))
    return entry, found.commit


def pin(model: ModelConfig) -> dict[str, Any]:
    """Description by which a model is found when nobody can say what its revision means now."""
    return {
        "source": "hub",
        "id": model.id,
        "revision": model.revision or "main",
        "pickle": model.allow_pickle,
        "code": model.trust_remote_code,
    }


def notes(found: Repository) -> dict[str, Any]:
    """What is kept of a repository beside its files."""
    return {"commit": found.commit, "licence": asdict(found.licence)}


def fetch_into(
    store: Store, kind: str, description: dict[str, Any], id: str, found: Repository, names: list[str]
) -> Entry:
    """Some files of a repository as an entry of the store; a broken download goes on at the next try."""

    def build(folder: Path) -> None:
        coming = store.downloads(kind, description)
        files = [file for file in found.files if file.name in names]
        log.info("downloading %s: %d files, %.2f GB", id, len(files), sum(file.size for file in files) / 1e9)
        address = f"{endpoint()}/{quote(id)}/resolve/{found.commit}"
        try:
            download(address, files, coming, token())
        except Exception as error:
            raise _refusal(f"model {id}", error) from error
        for file in files:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(coming / file.name, folder / file.name)
        check_shards(folder)
        shutil.rmtree(coming, ignore_errors=True)

    return store.make(kind, description, build)


def endpoint() -> str:
    """Address of the hub: HF_ENDPOINT, else the public one."""
    from huggingface_hub.constants import ENDPOINT

    return (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")


def token() -> str | bool:
    """The hub token in the environment; False, which is none at all, where there is none."""
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or False


def ask(question: Callable[[], Any], subject: str, revision: str | None) -> Any:
    """The hub's answer to one question about `subject`, as `model owner/name`. Raises SourceUnavailable.

    In a thread of its own, since a name look-up can hang for longer than any time limit that a library offers.
    """
    # Imported outside of the limit: from a cold shared file system this takes seconds.
    import huggingface_hub  # noqa: F401

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
        raise SourceUnavailable(f"{endpoint()} did not answer within {PROBE_SECONDS:.0f} s")
    if isinstance(answer[0], Exception):
        raise SourceUnavailable(_reason(subject, revision, answer[0]))
    return answer[0]


def client() -> Any:
    """The hub library's client for the endpoint and token of the environment."""
    import huggingface_hub

    return huggingface_hub.HfApi(endpoint=endpoint(), token=token())


def probe(id: str, revision: str | None) -> Repository:
    """Commit, files and licence of a model's repository. Raises SourceUnavailable."""

    def question() -> Any:
        return client().model_info(id, revision=revision, timeout=PROBE_SECONDS, files_metadata=True)

    info = ask(question, f"model {id}", revision)
    files = [
        RemoteFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else None, None if one.lfs else one.blob_id)
        for one in info.siblings or []
    ]
    return Repository(str(info.sha), files, licence_of(info))


def licence_of(info: Any) -> Licence:
    """The licence that a repository's page names. Where it is gated, the token's owner has accepted it, or is refused
    when files are asked for."""
    card = info.card_data or {}
    name = card.get("license") or ""
    if not info.gated:
        return Licence(str(name))
    try:
        who = ask(lambda: client().whoami(), "token", None).get("name")
    except SourceUnavailable:
        who = "the owner of the token in HF_TOKEN" if token() else None
    return Licence(str(name), True, who)


def _reason(subject: str, revision: str | None, error: Exception) -> str:
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
    return f"{endpoint()} cannot be reached ({type(error).__name__}{': ' + first if first else ''})"


def _refusal(subject: str, error: Exception) -> Exception:
    """A download's failure as the search for a model takes it: where the hub refuses, another source may give it."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return SourceUnavailable(_reason(subject, None, error))
    return error


def _from_store(model: ModelConfig, store: Store) -> tuple[Entry, str] | None:
    entry = store.find("models", pin(model))
    if entry is None:
        return None
    return entry, str(store.record("models", pin(model))["notes"]["commit"])


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
