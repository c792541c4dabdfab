"""The lines of text files, whole and numbered, whatever packs the file and ends its lines."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import NamedTuple

from contracts.landing_settings import WIDE_ENCODINGS
from spark_jobs.ingest.parsing.packed_files import DamagedFile, is_packed, open_unpacked
from spark_jobs.ingest.parsing.parsed_lines import BLANK_LINE, PART_BYTES, Part

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LOOKED_AT = 1 << 20  # bytes at a file's begin, in which a line end is looked for
_REPLACED = "\ufffd"


_StateAfter = Callable[[bytes, int], int]


class TextLine(NamedTuple):
    number: int  # in the file, from 1
    text: str  # without its end
    error: str | None  # why it is no line that could be parsed


def whole_file(day: date, path: Path, file: str) -> Part:
    """The part that is all of a text file."""
    size = path.stat().st_size
    return Part(day, path, file, 0, size, 1, size)


def split_lines(
    day: date,
    path: Path,
    file: str,
    state_after: _StateAfter | None = None,
    encoding: str = "utf-8",
) -> Iterator[Part]:
    """The parts of a text file, cut at line ends past each `PART_BYTES`; a short one is not opened.

    `state_after` says whether a value with line ends in it goes on after some lines (not 0), given
    the same of what is before them: there the file is not cut. A packed file is one part, as is
    one whose lines end in carriage returns alone, and one of an encoding in which a byte may look
    like a character and be a piece of another one.
    """
    size = path.stat().st_size
    is_short = size <= PART_BYTES or not _has_clear_bytes(encoding)
    if is_short or is_packed(path) or _ends_in_returns(path):
        yield whole_file(day, path, file)
    else:
        yield from _runs_of_lines(day, path, file, state_after)


def _runs_of_lines(
    day: date, path: Path, file: str, state_after: _StateAfter | None
) -> Iterator[Part]:
    """Line ends are counted on the way."""
    start, first_line = 0, 1
    with path.open("rb") as lines:
        while block := lines.read(PART_BYTES) + lines.readline():
            state, rest = state_after(block, 0) if state_after else 0, b""
            while state_after and state and (more := lines.readline()):
                state, rest = state_after(more, state), rest + more
            end = start + len(block) + len(rest)
            yield Part(day, path, file, start, end, first_line, end - start, is_whole=False)
            start, first_line = end, first_line + block.count(b"\n") + rest.count(b"\n")


def start_of(path: Path) -> bytes:
    """What a text file begins with, unpacked; all of a short one."""
    with open_unpacked(path) as stream:
        return stream.read(_LOOKED_AT)


def _ends_in_returns(path: Path) -> bool:
    """Whether carriage returns alone end the lines of a file, as on early Macintoshes."""
    start = start_of(path)
    return b"\r" in start and b"\n" not in start


def text_lines(part: Part, encoding: str = "utf-8") -> Iterator[TextLine]:
    """Each line of a part of a text file."""
    decode = _decode_recoded_line if _is_wide(encoding) else decode_line
    for number, line in enumerate(byte_lines(part, encoding), part.first_line):
        text, error = decode(line, encoding)
        yield TextLine(number, text, error)


def byte_lines(part: Part, encoding: str = "utf-8") -> Iterator[bytes]:
    """The lines of a part as they are in the file, with their ends; in UTF-8 where the encoding has
    line ends of several bytes."""
    if part.is_whole and _is_wide(encoding):
        yield from _recoded(part.path, encoding)
        return
    if part.is_whole and _ends_in_returns(part.path):
        yield from _lines_to_returns(part.path)
        return
    with open_unpacked(part.path) as lines:
        if part.is_whole:
            yield from lines
            return
        lines.seek(part.start)
        position = part.start
        for line in lines:
            yield line
            position += len(line)
            if position >= part.end:
                return


def _recoded(path: Path, encoding: str) -> Iterator[bytes]:
    with open_unpacked(path) as stream:
        try:
            for line in io.TextIOWrapper(stream, encoding, errors="replace", newline="\n"):
                yield line.encode()
        except UnicodeError:
            way_out = f"let the settings say {encoding}-le or {encoding}-be"
            cause = f"{encoding.upper()} without a byte order mark: {way_out}"
            raise DamagedFile(path, cause) from None


def _lines_to_returns(path: Path) -> Iterator[bytes]:
    """Each with its carriage return."""
    held = b""
    with open_unpacked(path) as stream:
        while block := stream.read(_LOOKED_AT):
            *whole, held = (held + block).split(b"\r")
            yield from (line + b"\r" for line in whole)
    if held:
        yield held


def decode_line(line: bytes, encoding: str = "utf-8") -> tuple[str, str | None]:
    """The text of one of `byte_lines`, without its end, and why it could not be parsed."""
    line = line.rstrip(b"\r\n").removeprefix(_BYTE_ORDER_MARK)
    try:
        return line.decode(encoding), None if line else BLANK_LINE
    except UnicodeDecodeError as error:
        raw = line.decode(encoding, errors="backslashreplace")
        return raw, f"not {encoding.upper()} (byte {error.start + 1})"


def _decode_recoded_line(line: bytes, encoding: str) -> tuple[str, str | None]:
    """Of a wide encoding, in which what could not be read was replaced."""
    text, error = decode_line(line)
    if _REPLACED in text:
        return text, f"not {encoding.upper()} (character {text.index(_REPLACED) + 1})"
    return text, error


def line_end(line: bytes) -> bytes:
    """The bytes that end a line."""
    return line[len(line.rstrip(b"\r\n")) :]


def as_in_file(encoding: str) -> Callable[[bytes], bytes]:
    """Turns one of `byte_lines` after the other into what a file of the encoding holds."""
    if not _is_wide(encoding):
        return lambda line: line
    encoder = codecs.getincrementalencoder(encoding)()  # its byte order mark is written once
    return lambda line: encoder.encode(line.decode())


def _is_wide(encoding: str) -> bool:
    return encoding.startswith(WIDE_ENCODINGS)


@cache
def _has_clear_bytes(encoding: str) -> bool:
    """Whether no piece of a longer character looks like a sign of CSV: in UTF-8, and wherever each
    byte is a character. In Shift-JIS the second byte of a character may be a bar."""
    every_byte = bytes(range(256))
    return encoding == "utf-8" or len(every_byte.decode(encoding, "replace")) == len(every_byte)
