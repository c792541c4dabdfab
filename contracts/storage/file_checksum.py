"""The checksum of a file's content."""

import hashlib
from pathlib import Path


def file_checksum(path: Path) -> str:
    """SHA-256 in hexadecimal digits; the file is read a block at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
