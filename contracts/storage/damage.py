"""What a power cut, a bad disk or a person leaves of a Delta table's files, found without Spark.

Each check raises `DamagedFile` with one line: the file, what is wrong with it, and what mends it.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import Path

from contracts.errors import BadInput
from contracts.tables import (
    BROWSING_LOGS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    REJECTED_LOGS,
)

_PARQUET_MAGIC = b"PAR1"  # how each Parquet file begins and ends
_MIN_PARQUET_BYTES = 12  # the magic twice, and the length of the footer
_FOOTER_END = 8  # bytes: the footer's length and the magic
_CHECKSUM_HEADER = 8  # bytes: a magic of 4, and how many bytes of the file each checksum is of
_INGEST = "userbert browsing-logs"


class DamagedFile(BadInput):
    """A file was written whole once and is not whole now."""


def job_command(table: str) -> str:
    """The command that writes `table`."""
    if table == PUBLISHED_HISTORY.name:
        table = PUBLISHED_EMBEDDINGS.name  # each publication records itself
    return f"userbert {table.replace('_', '-')}"


def check_delta_log(table_folder: str | Path) -> None:
    """Check the commits of the table in `table_folder` since its newest checkpoint.

    A commit of 0 bytes is read as a table without rows by delta-kernel, so no reader is asked.
    """
    log = Path(table_folder) / "_delta_log"
    commits = {int(path.stem): path for path in log.glob("*.json") if path.stem.isdigit()}
    if not commits:
        return
    newest = max(commits)
    for version in range(_checkpoint_version(log, newest) + 1, newest + 1):
        path = log / f"{version:020d}.json"
        if version not in commits:
            raise DamagedFile(
                f"{path} is gone, and later commits are there: {_older_commit_advice(path)}"
            )
        if fault := _commit_fault(path):
            raise DamagedFile(_commit_advice(path, fault, is_newest=version == newest))
    _check_newest_commit(log, newest)


def _check_newest_commit(log: Path, newest: int) -> None:
    """A newest commit that is gone leaves the checksums that Hadoop wrote next to it."""
    for checksums in log.glob(".*.json.crc"):
        name = checksums.name.removeprefix(".").removesuffix(".crc")
        if name.removesuffix(".json").isdigit() and int(name.removesuffix(".json")) > newest:
            table = log.parent.name
            raise DamagedFile(
                f"{log / name} is gone, and its checksums are there: copy it back from a backup; "
                f"without one, `rm {checksums}` takes {table} back to the version before, and "
                f"`{job_command(table)}` for its day writes it anew"
            )


def _checkpoint_version(log: Path, newest: int) -> int:
    """The version of the newest checkpoint, whose files are checked too; -1 where there is none."""
    checkpoints = sorted(log.glob("*.checkpoint*.parquet"))
    versions = {int(path.name.split(".")[0]) for path in checkpoints}
    usable = [version for version in versions if version <= newest]
    if not usable:
        return -1
    for path in checkpoints:
        if path.name.startswith(f"{max(usable):020d}.") and (fault := _parquet_fault(path)):
            raise DamagedFile(
                f"{path} is damaged: {fault}. It is a checkpoint of the commits before it: move it "
                f"and {log}/_last_checkpoint away, and the commits are read instead"
            )
    return max(usable)


def _commit_fault(path: Path) -> str:
    """What is wrong with a commit; empty where nothing is."""
    content = path.read_bytes()
    lines = [line for line in content.split(b"\n") if line.strip()]
    if not content:
        return "it has 0 bytes"
    for number, line in enumerate(lines, 1):
        try:
            action = json.loads(line)
        except ValueError:
            return f"its line {number} is not whole"
        if not isinstance(action, dict):
            return f"its line {number} is no action of Delta"
    if not lines:
        return "it holds no action"
    return "it is not what its checksum says" if _wrong_bytes(path) else ""


def _checksums_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.crc")


def _wrong_bytes(path: Path) -> list[tuple[int, int]] | None:
    """(begin, end) of each chunk that differs from the checksums that Hadoop keeps next to a file.

    They alone notice a commit that was cut off at the end of a line, and a flipped bit in the
    footer of a Parquet file, whose statistics decide which rows are read at all. None of a file
    that Hadoop did not write, or whose checksums are torn.
    """
    checksums = _checksums_of(path)
    stored = checksums.read_bytes() if checksums.exists() else b""
    chunk = int.from_bytes(stored[4:_CHECKSUM_HEADER], "big")
    if not chunk or not stored.startswith(b"crc\0"):
        return None
    with path.open("rb") as file:
        sums = [
            zlib.crc32(each).to_bytes(4, "big") for each in iter(partial(file.read, chunk), b"")
        ]
    known = stored[_CHECKSUM_HEADER:]
    kept = [known[at : at + 4] for at in range(0, len(known), 4)]
    return [
        (chunk * n, chunk * (n + 1))
        for n, (ours, theirs) in enumerate(zip_longest(sums, kept))
        if ours != theirs
    ]


def _commit_advice(path: Path, fault: str, *, is_newest: bool) -> str:
    table = path.parent.parent.name
    damaged = f"{path} is damaged: {fault}"
    if not is_newest:
        return f"{damaged}. Later commits build on it: {_older_commit_advice(path)}"
    again = f"run `{job_command(table)}` for its day again"
    if table == MODELS.name:
        again = "repeat the command of `userbert models` that wrote it"
    # Hadoop's and Delta's own checksums of this commit would refuse the one that takes its place.
    checksums = f"{path.with_suffix('')}.crc {path.parent}/.{path.stem}.*crc"
    return (
        f"{damaged}. It is the newest commit of {table}: `mv {path} {path}.damaged && rm -f "
        f"{checksums}` takes the table back to the version before it; then {again}"
    )


def _older_commit_advice(path: Path) -> str:
    folder = path.parent.parent
    return f"copy it back from a backup; without one, {_way_to_write_anew(folder, {})}"


def check_parquet_files(paths: Iterable[str | Path]) -> None:
    """Check that each data file is there and has its two ends; none of its pages is read."""
    for path in map(Path, paths):
        if fault := _parquet_fault(path):
            raise DamagedFile(_data_file_advice(path, fault))


def check_data_file(path: Path) -> None:
    """Check every byte of a data file: against Hadoop's checksums, where they are next to it, at a
    GiB a second; else, or where they differ, page by page, which may take many times as long."""
    check_parquet_files([path])
    if _wrong_bytes(path) != []:
        check_parquet_pages([path])


def check_parquet_pages(paths: Iterable[str | Path]) -> None:
    """Check every page of the data files against the checksum that Spark wrote into its header, and
    the footers against the checksums that Hadoop wrote next to the files."""
    import pyarrow.parquet as pq

    for path in map(Path, paths):
        check_parquet_files([path])
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for group in range(file.num_row_groups):
                    file.read_row_group(group)
        except (OSError, ValueError) as error:  # pyarrow's own errors are of these two kinds
            reason = str(error).splitlines()[0]
            raise DamagedFile(
                _data_file_advice(path, f"a page of it is wrong ({reason})")
            ) from None
        if fault := _footer_fault(path):
            raise DamagedFile(_data_file_advice(path, fault))


def _footer_fault(path: Path) -> str:
    """Of a file whose pages are whole. Where only checksums of pages differ, they are at fault."""
    wrong = _wrong_bytes(path)
    if not wrong:
        return ""
    with path.open("rb") as file:
        file.seek(-_FOOTER_END, os.SEEK_END)
        begin = file.tell() - int.from_bytes(file.read(4), "little")
    if all(end <= begin for _, end in wrong):
        return ""
    return f"its footer is not what the checksums next to it ({_checksums_of(path).name}) say"


def _parquet_fault(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size < _MIN_PARQUET_BYTES:
            return f"it has {size} bytes"
        with path.open("rb") as file:
            begins = file.read(len(_PARQUET_MAGIC))
            file.seek(size - len(_PARQUET_MAGIC))
            ends = file.read()
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return "" if begins == ends == _PARQUET_MAGIC else "it was cut off"


def _data_file_advice(path: Path, fault: str) -> str:
    """The table is the nearest folder above that has a Delta log."""
    folder = next((up for up in path.parents if (up / "_delta_log").is_dir()), path.parent)
    values = dict(part.split("=", 1) for part in path.relative_to(folder).parts[:-1])
    return (
        f"{path} is damaged: {fault}. Copy it back from a backup; without one, "
        f"{_way_to_write_anew(folder, values)}"
    )


def _way_to_write_anew(folder: Path, partition: Mapping[str, str]) -> str:
    """How the rows of one damaged file of the table in `folder` come back from their sources."""
    table = folder.name
    away = f"mv {folder} {folder}.damaged"
    if table == PUBLISHED_HISTORY.name:
        return (
            f"`{away}`, and `{job_command(table)} --as-of DAY` of the newest day records what is "
            "published now; what other commits replaced before is known no more"
        )
    if day := partition.get("as_of"):
        model = f" --model {partition['model_id']}" if "model_id" in partition else ""
        return f"write the rows of {day} anew: `{job_command(table)} --as-of {day}{model}`"
    if table == REJECTED_LOGS.name and (day := partition.get("landing_day")):
        return f"ingest the day again: `{_INGEST} --from-day {day} --to-day {day}`"
    if table in (BROWSING_LOGS.name, REJECTED_LOGS.name):
        lake = folder.parent
        return (
            f"`mkdir {lake}.damaged && mv {lake}/{BROWSING_LOGS.name} {lake}/{REJECTED_LOGS.name} "
            f"{lake}.damaged/`, and ingest all landing days again: `{_INGEST} --from-day FIRST "
            "--to-day LAST`"
        )
    if table == MODELS.name:
        return f"`{away}`, register each model again (`userbert models register`), and promote one"
    return f"`{away}`, and write the table anew: `{job_command(table)}`"
