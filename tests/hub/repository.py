"""Repositories as the small hub serves them: files of one commit, and who may have them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_BYTES = 4096
"""Files from this size on are served as large ones: by a redirect, with the sha256 of their contents."""


@dataclass
class Repository:
    """One model or dataset."""

    files: dict[str, bytes]
    kind: str = "models"
    """models or datasets, as in the hub's addresses."""
    gated: bool = False
    """Whether a token is asked for."""
    licence: str = "apache-2.0"
    branches: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.branches.setdefault("main", self.commit)

    @classmethod
    def of_folder(cls, folder: Path, **options: Any) -> "Repository":
        """A repository of a folder's files."""
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return cls(found, **options)

    @property
    def commit(self) -> str:
        """A commit id that follows from the files."""
        names = "".join(f"{name}:{blob_id(data)}\n" for name, data in sorted(self.files.items()))
        return hashlib.sha1(names.encode()).hexdigest()

    def at(self, revision: str) -> str | None:
        """The commit of a branch or of a commit's own id; None where there is none such."""
        return revision if revision == self.commit else self.branches.get(revision)

    def info(self, id: str) -> dict[str, Any]:
        """What the hub says of the repository."""
        siblings = [{"rfilename": name, **self._about(name, "blobId")} for name in sorted(self.files)]
        return {
            "id": id, "modelId": id, "sha": self.commit, "private": False, "disabled": False, "tags": [],
            "downloads": 0, "likes": 0, "gated": "auto" if self.gated else False, "siblings": siblings,
            "cardData": {"license": self.licence}, "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
        }  # fmt: skip

    def tree(self, below: str, recursive: bool) -> list[dict[str, Any]] | None:
        """The entries of a folder; None where there is none of this name."""
        start = f"{below}/" if below else ""
        inside = {name: name.removeprefix(start) for name in sorted(self.files) if name.startswith(start)}
        if below and not inside:
            return None
        folders = {start + rest.rpartition("/")[0] for rest in inside.values() if "/" in rest}
        if not recursive:
            folders = {start + rest.partition("/")[0] for rest in inside.values() if "/" in rest}
        entries = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        return entries + [self.entry(name) for name, rest in inside.items() if recursive or "/" not in rest]

    def entry(self, name: str) -> dict[str, Any]:
        """One file, as trees and paths-info have it."""
        return {"type": "file", "path": name, **self._about(name, "oid")}

    def _about(self, name: str, oid: str) -> dict[str, Any]:
        data = self.files[name]
        about: dict[str, Any] = {"size": len(data), oid: blob_id(data)}
        if is_large(data):
            digest = hashlib.sha256(data).hexdigest()
            about["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 134}
        return about


def blob_id(data: bytes) -> str:
    """The id that git gives to these contents."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(data: bytes) -> bool:
    """Whether contents are served as a large file."""
    return len(data) >= LFS_BYTES


def etag(data: bytes) -> str:
    """The hub's mark of contents: sha256 of large files, git's id of others."""
    return hashlib.sha256(data).hexdigest() if is_large(data) else blob_id(data)


Repositories = Mapping[str, Repository]
