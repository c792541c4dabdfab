"""Which data files were whole when all of their pages were last read.

Reading all of a file may cost more than the question, so a file that nothing has written to since
is read once a day. The record may be deleted at any time.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from contracts.paths import Places
from contracts.storage.atomic_write import write_text
from contracts.storage.damage import check_data_file

_VALID_S = 24 * 3600  # after this a file is read again: a disk that fails changes no file's time

_Stamp = list[int]  # of a file: size, the times of its last write and change, when it was checked


def check_pages_daily(paths: Iterable[str], places: Places) -> None:
    """Raise `DamagedFile` if one of the files is not what Spark wrote.

    No reader notices a bit that a disk has flipped, and another vector would be served.
    """
    record = places.checked_files
    known, now = _read_record(record), int(time.time())
    checked: dict[str, _Stamp] = {}
    for path in map(Path, paths):
        name = _name_in_root(path, places)
        *state, checked_at = known.get(name, [0])
        if state != _state_of(path) or now - checked_at > _VALID_S:
            check_data_file(path)
            checked[name] = [*_state_of(path), now]
    if checked:
        valid = {name: stamp for name, stamp in known.items() if now - stamp[-1] <= _VALID_S}
        with suppress(PermissionError):  # an analyst may read a root that is another's
            write_text(record, json.dumps(valid | checked) + "\n")


def _read_record(record: Path) -> dict[str, _Stamp]:
    try:
        found: dict[str, _Stamp] = json.loads(record.read_text(encoding="utf-8"))
        return {name: list(map(int, stamp)) for name, stamp in found.items() if stamp}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # none yet, or it is torn


def _name_in_root(path: Path, places: Places) -> str:
    """A root that was moved has the same names."""
    return str(path.relative_to(places.root) if path.is_relative_to(places.root) else path)


def _state_of(path: Path) -> _Stamp:
    """Empty for a file that is gone, which no stamp is of."""
    try:
        state = path.stat()
    except OSError:
        return []
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
