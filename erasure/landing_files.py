"""Users' lines out of the landing files, each file rewritten whole or not at all.

In JSON lines and CSV a line that goes leaves an empty line, so that every other line keeps its
number, by which rejected_logs names it; a later ingest of that day counts the empty line among
those of forgotten users. Of Parquet the row goes, and the rows behind it move up.
"""

import glob
import shutil
from pathlib import Path

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings
from contracts.storage.atomic_write import atomic_file
from spark_jobs.ingest.formats import LandingFormat, landing_format
from spark_jobs.ingest.landing_files import parts_of_all_days
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.suppression_list import SuppressionList


def erase_lines(
    landing: Path, settings: LandingSettings, forgotten: SuppressionList
) -> tuple[int, int]:
    """How many lines went, out of how many files."""
    form = landing_format(settings)
    lines_of: dict[Path, set[int]] = {}
    for part in parts_of_all_days(landing, settings):
        if part.damage:
            raise _unread(part.path, part.damage)
        try:
            for batch in form.parse(part):
                if lines := batch.line_numbers[forgotten.has_lines(batch)].tolist():
                    lines_of.setdefault(part.path, set()).update(lines)
        except DamagedFile as error:
            raise _unread(part.path, error.cause) from None
    for path, lines in lines_of.items():
        _rewrite(form, path, lines)
    return sum(map(len, lines_of.values())), len(lines_of)


def _unread(path: Path, cause: str) -> BadInput:
    return BadInput(
        f"{path} cannot be read ({cause}), so nobody can say whether it names the users. Mend the "
        "file or remove it, and run this again"
    )


def _rewrite(form: LandingFormat, path: Path, lines: set[int]) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink()  # by a call that was killed: it names other users, who may be forgotten later
    with atomic_file(path) as unfinished:
        form.erase(path, unfinished, lines)
        shutil.copystat(path, unfinished)
