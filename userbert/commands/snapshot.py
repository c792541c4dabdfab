"""A copy of what cannot be made again: lake, models, gate results, labels, suppression list.

userbert snapshot FOLDER [--landing]

Each table is copied at one version, while jobs may go on writing. What later commands make again is
left out: training arrays, the online store, reports, logs, Airflow's database. The copy holds what
people read: keep it as safe as the lake. The rules of the lake are checked on the copy, which may
break those that the lake itself breaks, and the folder is there whole or not at all. `userbert
restore FOLDER` makes a data root of it.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from analyst.lake_access.open_lake import open_lake
from analyst.questions.audit import audit
from contracts.errors import BadInput, UserbertError
from contracts.paths import Places
from contracts.provenance import code_version
from contracts.settings.pseudonyms import must_not_rotate
from contracts.storage.atomic_write import atomic_folder, write_json
from contracts.terminal.printing import print_parts

MANIFEST_FILE = "snapshot.json"
_FORMAT = 1  # of the manifest
_LOG = "_delta_log"
_KEPT_FOLDERS = ("models", "gates", "labels", "forgotten")
_BLOCK_BYTES = 1 << 20


class SnapshotFailed(UserbertError):
    """A copy is not what it should be; nothing was kept."""


@dataclass(frozen=True)
class SnapshotFile:
    """One file of a snapshot, by which its copies are checked."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot says about itself."""

    format: int
    made_at: str  # UTC
    code: str
    tables: dict[str, int]  # versions
    files: dict[str, SnapshotFile]  # by their path below the folder
    broken_rules: dict[str, int] = field(default_factory=dict)  # of the lake, with how many rows

    @property
    def rules_line(self) -> str:
        if not self.broken_rules:
            return "the rules of the lake hold of it"
        return f"it breaks what the lake broke: {rules_of(self.broken_rules)}"


def take_snapshot(places: Places, folder: Path, has_landing: bool = False) -> Snapshot:
    """Copy the data root to `folder`, which must not hold anything, and check the copy."""
    if "://" in places.lake:
        raise BadInput(
            f"the lake {places.lake} is an object store: copy it by the store's own tools"
        )
    versions = _newest_versions(Path(places.lake))
    if not versions:
        raise BadInput(f"{places.lake} holds no table: there is nothing to copy")
    must_be_new(folder, places.root)
    paths = list(_wanted_files(places, versions, has_landing))
    must_fit(folder, sum(path.stat().st_size for path, _ in paths if path.exists()))
    with atomic_folder(folder) as unfinished:
        files = copy_files(paths, unfinished)
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        broken = broken_rules(Places(unfinished))
        if broken:
            check_rules(broken, broken_rules(places))
        snapshot = Snapshot(_FORMAT, made_at, code_version(), versions, files, broken)
        write_json(unfinished / MANIFEST_FILE, asdict(snapshot))
    return snapshot


def must_be_new(folder: Path, root: Path | None = None) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not empty: name a new folder")
    if root is not None and folder.absolute().is_relative_to(root):
        raise BadInput(f"{folder} lies in the data root {root}: a copy belongs elsewhere")


def must_fit(folder: Path, num_bytes: int) -> None:
    there = next(each for each in folder.absolute().parents if each.exists())
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        raise BadInput(f"{there} has {free:,} bytes free, and the copy needs {num_bytes:,}")


def copy_files(paths: list[tuple[Path, str]], folder: Path) -> dict[str, SnapshotFile]:
    """Copy each file to its path below `folder`; a file that a job has removed is left out."""
    copied = {}
    for source, name in paths:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copied[name] = _copy(source, target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)  # VACUUM was here: no version that is copied needs it
    return copied


def _copy(source: Path, target: Path) -> SnapshotFile:
    digest, num_bytes = hashlib.sha256(), 0
    with source.open("rb") as file, target.open("wb") as copy:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            num_bytes += copy.write(block)
    return SnapshotFile(num_bytes, digest.hexdigest())


def broken_rules(places: Places) -> dict[str, int]:
    """By how many rows each rule is broken; an error if a file of a table is damaged or gone."""
    with open_lake(places) as lake:
        lake.check_all_pages()
        return {f"{each.table}: {each.rule}": each.broken for each in audit(lake) if each.broken}


def check_rules(broken: Mapping[str, int], allowed: Mapping[str, int]) -> None:
    """`SnapshotFailed` if a rule is broken that may not be.

    A lake with a broken rule needs a copy more than another, so the copy may break it as well.
    """
    if alone := {rule: rows for rule, rows in broken.items() if rule not in allowed}:
        raise SnapshotFailed(
            "the copy breaks rules of `userbert audit` that hold of the lake, perhaps since a job "
            f"wrote to two tables in between: {rules_of(alone)}. Run the same command again"
        )


def rules_of(broken: Mapping[str, int]) -> str:
    return "; ".join(f"{rule} ({rows:,} rows)" for rule, rows in broken.items())


def _newest_versions(lake: Path) -> dict[str, int]:
    logs = sorted(lake.glob(f"*/{_LOG}"))
    return {log.parent.name: max(versions) for log in logs if (versions := _versions(log))}


def _versions(log: Path) -> list[int]:
    return [int(path.stem) for path in log.glob("*.json") if path.stem.isdigit()]


def _wanted_files(
    places: Places, versions: dict[str, int], has_landing: bool
) -> Iterator[tuple[Path, str]]:
    lake = Path(places.lake)
    for table, version in versions.items():
        for path in _files_below(lake / table):
            if path.parent.name != _LOG or _is_of_version(path, version):
                yield path, f"lake/{path.relative_to(lake)}"
    for name in _KEPT_FOLDERS:
        for path in _files_below(places.root / name):
            yield path, str(path.relative_to(places.root))
    for path in _files_below(places.landing):
        if has_landing or (path.parent == places.landing and path.suffix == ".toml"):
            yield path, str(path.relative_to(places.root))


def _files_below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _is_of_version(path: Path, version: int) -> bool:
    """A file of a table's log that is no newer than the version that is copied.

    What names the last checkpoint may be newer; readers find checkpoints without it.
    """
    number = path.name.lstrip(".").partition(".")[0]
    return number.isdigit() and int(number) <= version


def main(
    folder: Annotated[Path, typer.Argument(help="A new folder for the copy.")],
    landing: Annotated[
        bool, typer.Option("--landing", help="Copy the landing files as well.")
    ] = False,
) -> None:
    places = Places.from_environment()
    must_not_rotate(places)
    snapshot = take_snapshot(places, folder, landing)
    num_bytes = sum(file.num_bytes for file in snapshot.files.values())
    print_parts(
        f"{folder} holds {len(snapshot.tables)} tables in {len(snapshot.files):,} files of "
        f"{num_bytes / (1 << 20):,.1f} MiB; {snapshot.rules_line}"
    )
    print_parts(f"`USERBERT_DATA=NEW userbert restore {folder}` makes a data root of it")
