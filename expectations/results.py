"""What each gate found, as one small JSON file a table and run."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from contracts.storage.atomic_write import write_text
from contracts.storage.damage import DamagedFile, job_command

_MAX_RESULTS = 1000  # results a table, about 5 KB each; a year of nights and a backfill beside it


@dataclass(frozen=True)
class Finding:
    """One expectation, and what was observed."""

    expectation: str
    says: str
    passed: bool
    observed: float | None  # None: it could not be measured
    least: float | None
    most: float | None
    of_rows: bool  # observed is a number of rows that break it
    rows: list[dict[str, str]]  # some of those that break it


@dataclass(frozen=True)
class GateResult:
    """One gate: `line` is what a person reads first."""

    table: str
    run: str
    passed: bool
    line: str
    rows: int
    seconds: float
    checked_at: str  # UTC
    code: str
    measures: Mapping[str, float | None]
    expectations: list[Finding]

    @property
    def failed(self) -> list[Finding]:
        return [found for found in self.expectations if not found.passed]


def file_name(run: str) -> str:
    """A run's name as a file's: "backfill/2017-06-30" must not make a folder."""
    return re.sub(r"[^\w.=-]+", "_", run)[:150] or "_"


def result_path(gates: Path, table: str, run: str) -> Path:
    return gates / "results" / table / f"{file_name(run)}.json"


def keep_newest(folder: Path, pattern: str, kept: int) -> None:
    for old in _newest_files(folder, pattern)[kept:]:
        old.unlink(missing_ok=True)


def _newest_files(folder: Path, pattern: str) -> list[Path]:
    """Newest first; a file that another process takes away meanwhile is left out."""
    timed = []
    for path in folder.glob(pattern):
        try:
            timed.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(timed, reverse=True)]


def save_result(gates: Path, result: GateResult) -> Path:
    path = result_path(gates, result.table, result.run)
    write_text(path, json.dumps(asdict(result), indent=1) + "\n")
    keep_newest(path.parent, "*.json", _MAX_RESULTS)
    return path


def load_result(path: Path) -> GateResult:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return GateResult(
            **{**fields, "expectations": [Finding(**f) for f in fields["expectations"]]}
        )
    except (ValueError, TypeError, KeyError) as error:
        fault = f"not JSON ({error})" if path.stat().st_size else "of 0 bytes"
        raise DamagedFile(
            f"{path} is damaged: it is {fault}. It is what a gate found, and no data: remove it "
            f"(`rm {path}`), and the next run of `{job_command(path.parent.name)}` writes another"
        ) from None


def newest_results(gates: Path, table: str, limit: int = 1) -> Iterator[GateResult]:
    """The results of a table, the newest first."""
    for path in _newest_files(gates / "results" / table, "*.json")[:limit]:
        yield load_result(path)


def newest_readable(gates: Path, table: str, limit: int) -> tuple[list[GateResult], list[Path]]:
    """The newest results of a table, and the files among them that are damaged."""
    results, damaged = [], []
    for path in _newest_files(gates / "results" / table, "*.json")[:limit]:
        try:
            results.append(load_result(path))
        except DamagedFile:
            damaged.append(path)
    return results, damaged
