"""What a model's folder must be before anything in it is used: a manifest is input like any other.

The folder may come from another machine or another person. Its manifest names the files that are
loaded here and that are sent to Spark's executors, so a name must not lead out of the folder. Only
the standard library is imported: a job asks this before it imports torch.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from contracts.errors import BadInput, MissingTable

_MANIFEST = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TYPES: dict[str, type] = {
    "model_id": str,
    "trained_before": str,
    "settings": dict,
    "inputs": dict,
    "content": str,
    "num_words": int,
    "num_titles": int,
    "measures": dict,
    "vocabulary_hash": str,
    "code_version": str,
    "files": dict,
}


def find_model_folder(models: Path, model_id: str, registered: str | None) -> Path:
    """Where a model's files lie: below `models`, wherever that root was moved or copied to.

    Only a model that is not there is looked for where it was registered.
    """
    folder = models / model_id
    if registered is None or (folder / _MANIFEST).exists():
        return folder
    return Path(registered)


def check_model_folder(folder: Path) -> dict[str, Any]:
    """The manifest as JSON; `MissingTable` without one, `BadInput` with all that is wrong.

    Checksums are not compared here: `model.storage.checkpoint.read_manifest` does, of every file.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        raise MissingTable(
            f"{folder} holds no model ({_MANIFEST} is missing): copy the folder again from the "
            "machine that trained it, or train and register another model"
        )
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInput(f"{path} is no JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise BadInput(f"{path} is no JSON object")
    if faults := [*_wrong_types(manifest)] or [*_wrong_values(folder, manifest)]:
        raise BadInput(f"{path} cannot be used: {'; '.join(faults)}")
    return manifest


def _wrong_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in _TYPES.items():
        value = manifest.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"{name} is {value!r:.80}, and should be of type {kind.__name__}"
    if not isinstance(space := manifest.get("space_id", ""), str):
        yield f"space_id is {space!r:.80}, and should be of type str"


def _wrong_values(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest["model_id"] != folder.name:
        yield f"its model_id is {manifest['model_id']!r:.80}, and the folder is {folder.name}"
    try:
        date.fromisoformat(manifest["trained_before"])
    except ValueError:
        yield f"trained_before is {manifest['trained_before']!r:.80}, and should be YYYY-MM-DD"
    for name, version in manifest["inputs"].items():
        if type(version) is not int or version < 0:
            yield f"inputs names version {version!r:.80} of {name!r:.80}"
    for name, value in manifest["measures"].items():
        if type(value) not in (int, float) or math.isinf(value):
            yield f"the measure {name!r:.80} is {value!r:.80}, and should be a number"
    for name, sha256 in manifest["files"].items():
        yield from _wrong_file(folder, name, sha256)


def _wrong_file(folder: Path, name: str, sha256: object) -> Iterator[str]:
    """A file is a plain one directly in the folder: no path, no link that may lead elsewhere."""
    if name != Path(name).name or name in ("", ".", "..", _MANIFEST) or "\\" in name:
        yield f"it names {name!r:.80}, which is no file of the folder itself"
    elif (folder / name).is_symlink():
        yield f"{name} is a link to another place"
    elif not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        yield f"{name} has no sha256"
