"""Addresses of files that lie elsewhere: which are understood, and what must not stand in one."""

import re
from urllib.parse import urlsplit

PACKAGES = {
    "http": "", "https": "", "file": "", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
}  # fmt: skip
"""Kinds of addresses, and the Python package that each needs besides; "" for none."""
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://")
_SIGNED = re.compile(r"[?&](sig|signature|x-amz-signature|x-goog-signature|token|key)=", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Whether a path is the address of something elsewhere, as `s3://bucket/rows.jsonl`."""
    return _ADDRESS.match(path) is not None


def kind_of(path: str) -> str:
    """The kind of an address: what stands before `://`."""
    return path.partition("://")[0]


def refusal(path: str) -> str | None:
    """Why an address cannot be used, as a sentence with what to type; None where it can."""
    if kind_of(path) not in PACKAGES:
        return f"{kind_of(path)}:// is no kind of address that is read: there are {', '.join(sorted(PACKAGES))}"
    if "@" in urlsplit(path).netloc or _SIGNED.search(path):
        return (
            "an address with a password or a signature in it would be kept in the run folder: leave it out, and give "
            "credentials in the environment, as the service's own programs take them"
        )
    return None
