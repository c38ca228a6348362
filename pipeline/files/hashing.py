"""Digests of files."""

import hashlib
from pathlib import Path

from imagefeed.pipeline.runtime.os_errors import doing


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with doing("read", path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
