"""A data root out of a snapshot, at this path or at another.

USERBERT_DATA=NEW userbert restore FOLDER

The root must be new. Each file is compared with the sum that the snapshot has of it, the rules of
the lake are checked, and the root is there whole or not at all. Paths in tables need no change.
What a snapshot leaves out is made again: the online store by `userbert features refresh --as-of
DAY`, the rest when it is needed.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_folder
from contracts.terminal.printing import print_parts
from userbert.commands.snapshot import (
    MANIFEST_FILE,
    Snapshot,
    SnapshotFailed,
    SnapshotFile,
    broken_rules,
    check_rules,
    copy_files,
    must_be_new,
    must_fit,
)


def restore_snapshot(folder: Path, root: Path) -> Snapshot:
    """Copy a snapshot to `root`, which must not hold anything, and check the copy."""
    snapshot = read_snapshot(folder)
    must_be_new(root)
    must_fit(root, sum(file.num_bytes for file in snapshot.files.values()))
    with atomic_folder(root) as unfinished:
        copied = copy_files([(folder / name, name) for name in snapshot.files], unfinished)
        differing = [name for name, file in snapshot.files.items() if copied.get(name) != file]
        if differing:
            raise SnapshotFailed(
                f"{len(differing)} files of {folder} are not what they were when it was made, the "
                f"first of them {differing[0]}: take another snapshot; nothing was restored"
            )
        check_rules(broken_rules(Places(unfinished)), snapshot.broken_rules)
    return snapshot


def read_snapshot(folder: Path) -> Snapshot:
    path = folder / MANIFEST_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        files = {name: SnapshotFile(**file) for name, file in facts["files"].items()}
        snapshot = Snapshot(**{**facts, "files": files})
    except FileNotFoundError:
        raise BadInput(f"{folder} is no snapshot: it has no {MANIFEST_FILE}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is damaged ({error}): take another snapshot") from None
    if unsafe := [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise BadInput(f"{path} names a file outside of its folder: {unsafe[0]}")
    return snapshot


def main(folder: Annotated[Path, typer.Argument(help="The folder of a snapshot.")]) -> None:
    places = Places.from_environment()
    if "://" in places.lake:
        raise BadInput(f"USERBERT_LAKE is {places.lake}: a snapshot is restored to a disk")
    snapshot = restore_snapshot(folder, places.root)
    print_parts(
        f"{places.root} is as it was at {snapshot.made_at}: {len(snapshot.tables)} tables, "
        f"{len(snapshot.files):,} files, each compared with its sum; {snapshot.rules_line}"
    )
    print_parts("`userbert features refresh --as-of DAY` fills the online store again")
