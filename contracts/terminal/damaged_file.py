"""A data file that Spark could not read, in one line: the file, what is wrong, what mends it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from contracts.storage.damage import DamagedFile, check_parquet_pages

# How Spark names the file, as an address: file:/lake/titles/part-0%200.parquet
_READ_ERROR = re.compile(r"\[FAILED_READ_FILE.*?reading file file:(?://)?(/\S+?\.parquet)", re.S)


@contextmanager
def damaged_file_named() -> Iterator[None]:
    """Whatever a damaged data file stops in here ends as `DamagedFile`."""
    try:
        yield
    except Exception as error:
        if found := _READ_ERROR.search(str(error)):
            _name_damage(Path(unquote(found[1])))
        raise


def _name_damage(path: Path) -> None:
    """Raise `DamagedFile` with what is wrong with the file."""
    check_parquet_pages([path])
    checksums = path.with_name(f".{path.name}.crc")
    if checksums.exists():  # Hadoop's own, next to each file that it writes on a disk
        raise DamagedFile(
            f"{checksums} does not fit {path}, whose pages are all whole: `rm {checksums}`"
        )
