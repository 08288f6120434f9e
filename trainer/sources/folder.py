"""Source `folder`: a model in Transformers layout on this file system, used where it lies."""

from pathlib import Path

from conf.schema.model import ModelConfig
from trainer.sources.errors import SourceUnavailable
from trainer.sources.files import check_shards, model_files
from trainer.store import Entry, Store


def from_folder(model: ModelConfig, store: Store) -> Entry:
    """The folder that model.id names, with the digest of its model files. It is not copied.

    Hashing is done once: a file counts as unchanged while its size and time of change are. Raises
    SourceUnavailable, PickleRefused.
    """
    folder = Path(model.id).expanduser()
    # A folder that was there when the run was frozen is absolute; anything else would be looked for in the run's code.
    if not folder.is_absolute() or not folder.is_dir():
        raise SourceUnavailable(f"there is no folder {model.id}")
    return adopt(folder, model, store)


def adopt(folder: Path, model: ModelConfig, store: Store) -> Entry:
    """A complete model folder as an entry of the store that stays in its place."""
    names = model_files(
        (path.name for path in folder.iterdir() if path.is_file()),
        str(folder),
        model.allow_pickle,
        model.trust_remote_code,
    )
    check_shards(folder)
    paths = [folder / name for name in names]
    state = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return store.adopt("models", {"source": "folder", "folder": str(folder), "files": state}, folder, paths)
