"""JSON lines: an object a line, with a key for each declared column."""

from collections.abc import Collection, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from contracts.landing_settings import LandingSettings
from spark_jobs.ingest.parsing.json_batches import read_at_once
from spark_jobs.ingest.parsing.json_objects import ObjectReader, objects_of
from spark_jobs.ingest.parsing.packed_files import create_packed_like, reading_file
from spark_jobs.ingest.parsing.parsed_lines import BATCH_LINES, LineBatch, Part
from spark_jobs.ingest.parsing.text_files import (
    TextLine,
    byte_lines,
    decode_line,
    line_end,
    split_lines,
    start_of,
    text_lines,
    whole_file,
)

_JOINED = b"}{"  # two objects without a line end between them


class _JsonLines:
    name: ClassVar[str] = "jsonl"

    def __init__(self, settings: LandingSettings) -> None:
        self._columns = settings.columns
        self._reader = ObjectReader(settings.columns)
        # Arrow's reader knows no paths.
        self._at_once = not any("." in name for name in settings.columns.values())

    def split(self, day: date, path: Path, file: str) -> Iterator[Part]:
        with reading_file(path):
            if _JOINED in start_of(path):  # its objects are numbered, and its lines are not
                yield whole_file(day, path, file)
            else:
                yield from split_lines(day, path, file)

    def parse(self, part: Part) -> Iterator[LineBatch]:
        with reading_file(part.path):
            lines = _numbered_objects(part)
            while some := list(islice(lines, BATCH_LINES)):
                yield from self._parsed(some)

    def _parsed(self, lines: list[TextLine]) -> Iterator[LineBatch]:
        """A batch of the lines that were read at once, and one of the others, if there are any."""
        known: set[int] = set()
        if self._at_once:
            names = list(dict.fromkeys(self._columns.values()))
            places, table = read_at_once(["" if line.error else line.text for line in lines], names)
            known = set(places)
            numbers = [lines[place].number for place in places]
            columns = {name: table.column(name).combine_chunks() for name in names}
            yield LineBatch.of_texts(
                numbers, {ours: columns[theirs] for ours, theirs in self._columns.items()}
            )
        if len(known) < len(lines):
            yield self._one_by_one([line for n, line in enumerate(lines) if n not in known])

    def _one_by_one(self, lines: list[TextLine]) -> LineBatch:
        read = [
            ({}, [line.error]) if line.error else self._reader.read(line.text) for line in lines
        ]
        texts: dict[str, Any] = {
            name: [values.get(name) for values, _ in read] for name in self._columns
        }
        errors = [reasons or None for _, reasons in read]
        raw = [line.text for line, reasons in zip(lines, errors, strict=True) if reasons]
        return LineBatch.of_texts([line.number for line in lines], texts, errors, raw)

    def raw_lines(
        self, part: Part, wanted: Collection[int] | None = None
    ) -> Iterator[tuple[int, str]]:
        with reading_file(part.path):
            for line in _numbered_objects(part):
                if wanted is None or line.number in wanted:
                    yield line.number, line.text

    def user_of(self, raw: str) -> str | None:
        return self._reader.user_of(raw)

    def erase(self, path: Path, out: Path, lines: Collection[int]) -> None:
        """A line becomes an empty one, and an object among others of its line an empty one."""
        number = 1
        with reading_file(path), create_packed_like(path, out) as kept:
            for line in byte_lines(whole_file(date.min, path, "")):
                objects = _objects(line)
                numbers = range(number, number + len(objects))
                number += len(objects)
                if any(each in lines for each in numbers):
                    line = _without(objects, [each in lines for each in numbers]) + line_end(line)
                kept.write(line)

    def count(self, path: Path) -> int:
        with reading_file(path):
            return sum(
                len(_objects(line)) if part.is_whole else 1
                for part in self.split(date.min, path, "")
                for line in byte_lines(part)
            )


def _objects(line: bytes) -> list[str]:
    """The objects of a line of a file that is read whole."""
    if _JOINED not in line:
        return [""]
    text, error = decode_line(line)
    return [text] if error else objects_of(text)


def _without(objects: list[str], is_erased: list[bool]) -> bytes:
    if len(objects) == 1:
        return b""
    return "".join("{}" if gone else o for o, gone in zip(objects, is_erased, strict=True)).encode()


def _numbered_objects(part: Part) -> Iterator[TextLine]:
    """The lines of a part; several objects of one line are as many lines."""
    if not part.is_whole:
        yield from text_lines(part)
        return
    shift = 0  # objects that were lines of their own so far
    for line in text_lines(part):
        if not shift and "}{" not in line.text:  # nearly all lines
            yield line
            continue
        objects = [line.text] if line.error else objects_of(line.text)
        for position, each in enumerate(objects):
            yield TextLine(line.number + shift + position, each, line.error)
        shift += len(objects) - 1


LANDING_FORMAT = _JsonLines
