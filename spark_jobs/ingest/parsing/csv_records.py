"""The records of a CSV file: lines, or several where a quoted value holds line ends.

A record that can be read is one line of the landing files, known by the number of its first line.
One that cannot be read is refused line by line, so that a quote which is never closed is as many
refused lines as it swallows, and no line from inside a value is ever taken for a view.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from contracts.landing_settings import CsvDialect
from spark_jobs.ingest.parsing.parsed_lines import BLANK_LINE
from spark_jobs.ingest.parsing.text_files import TextLine

# Whether a value goes on behind a line end: not, in quotes, or outside of quotes behind an escape.
CLOSED, QUOTED, ESCAPED = 0, 1, 2
_LINE_ENDS = ("", "\n", "\r", "\r\n", b"", b"\n", b"\r", b"\r\n")
MOST_LINES = 10_000  # of one record; longer ones are refused, so that none fills the memory

csv.field_size_limit(sys.maxsize)


class Record(NamedTuple):
    number: int  # of its first line
    lines: Sequence[str]
    values: list[str]
    error: str | None  # why it cannot be read; then it is one line

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class _TooLong(Exception):
    """A record of more than `MOST_LINES` lines."""


class Quoting:
    """Where values begin and end, as Python's csv module has it, for text and for bytes.

    A quote opens a value at its begin alone; two quotes inside, or one behind the escape, are a
    quote of the value. A line end behind the escape is part of the value, too.
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._dialect = dialect

    @cached_property
    def reader_options(self) -> dict[str, Any]:
        """For csv.reader."""
        quote = self._dialect.quote
        return {
            "delimiter": self._dialect.delimiter,
            "quotechar": quote or None,
            "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            "escapechar": self._dialect.escape or None,
            "strict": True,
        }

    def state_after(self, lines: Any, state: int) -> int:
        """Whether a value goes on after `lines` (text or bytes), given the same of before them."""
        marks, inside, whole = self._of_bytes if isinstance(lines, bytes) else self._of_text
        if not marks.search(lines):
            return QUOTED if state == QUOTED else CLOSED
        position = 0
        if state == QUOTED:
            rest = inside.match(lines)
            if not rest["close"]:
                return QUOTED
            position = rest.end()
        elif state == ESCAPED:  # the line begins inside of a value, where a quote opens nothing
            position = len(lines) - len(lines.lstrip(self._quote_like(lines)))
        last = None
        for last in whole.finditer(lines, position):  # noqa: B007
            pass
        return self._state_of(last, len(lines))

    def _quote_like(self, lines: Any) -> Any:
        quote = self._dialect.quote or "\0"
        return quote.encode(self._dialect.encoding) if isinstance(lines, bytes) else quote

    def _state_of(self, last: re.Match[Any] | None, end: int) -> int:
        """After the last quoted value or escape of some lines."""
        if last is None:
            return CLOSED
        if last["close"] is not None:
            return CLOSED if last["close"] else QUOTED
        is_line_end = last["escaped"] in _LINE_ENDS
        return ESCAPED if is_line_end and last.end() == end else CLOSED

    @cached_property
    def _of_text(self) -> tuple[Any, Any, Any]:
        marks, inside, whole = map(re.compile, self._patterns())
        return marks, inside, whole

    @cached_property
    def _of_bytes(self) -> tuple[Any, Any, Any]:
        encoded = [text.encode(self._dialect.encoding) for text in self._patterns()]
        marks, inside, whole = map(re.compile, encoded)
        return marks, inside, whole

    def _patterns(self) -> tuple[str, str, str]:
        """What must be there for a line to be more than a record; what is left of an open value;
        a whole quoted value, or escaped characters outside of one with the quotes behind them."""
        delimiter, quote, escape = (
            re.escape(each)
            for each in (self._dialect.delimiter, self._dialect.quote, self._dialect.escape)
        )
        never = r"(?!)"
        in_value = rf"|{escape}(?s:.)?" if escape else ""
        inside = rf"(?:[^{quote}{escape}]+|{quote}{quote}{in_value})*+(?P<close>{quote}?)"
        start = rf"(?:\A|(?<=[\r\n])|(?<={delimiter}))"
        outside = rf"(?:{escape}(?P<escaped>\r\n|(?s:.)|\Z))+" if escape else never
        outside += f"{quote}*" if escape and quote else ""
        if not quote:
            return escape or never, never, rf"(?P<close>{never})|{outside}"
        quoted = rf"{start}{quote}{inside}"
        without = "" if escape else rf"|(?P<escaped>{never})"
        return f"[{quote}{escape}]", inside, rf"{outside}|{quoted}{without}"


class _Feed:
    """Gives csv.reader the lines of one record after the other, and keeps those it took."""

    def __init__(self, lines: Iterator[TextLine]) -> None:
        self.lines = lines
        self.taken: list[TextLine] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= MOST_LINES:
            raise _TooLong
        line = next(self.lines)
        self.taken.append(line)
        return line.text + "\n"


def records_of(lines: Iterator[TextLine], dialect: CsvDialect) -> Iterator[Record]:
    """The records of a file or of a part that begins with one."""
    quoting, feed = Quoting(dialect), _Feed(lines)
    reader = csv.reader(feed, **quoting.reader_options)
    while True:
        feed.taken = []
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield from _refused(feed, quoting, f"not CSV ({_in_words(error)})")
        except _TooLong:
            reason = f"not CSV (a quoted value of more than {MOST_LINES:,} lines)"
            reader = csv.reader(feed, **quoting.reader_options)
            yield from _refused(feed, quoting, reason)
        else:
            taken = feed.taken
            first = taken[0]
            if len(taken) == 1:
                yield Record(first.number, (first.text,), values, first.error)
            elif any(line.error not in (None, BLANK_LINE) for line in taken):
                yield from refused_pieces(
                    taken, "not CSV (a record with a line that cannot be read)"
                )
            else:
                yield Record(first.number, [line.text for line in taken], values, None)


def _in_words(error: csv.Error) -> str:
    """What the csv module says, but for one advice to the programmer who opens the file."""
    text = str(error)
    return "a carriage return outside of quotes" if text.startswith("new-line") else text


def _refused(feed: _Feed, quoting: Quoting, reason: str) -> Iterator[Record]:
    """The lines of a record that cannot be read, up to the one in which it ends."""
    taken, state = feed.taken, CLOSED
    for line in taken:
        state = quoting.state_after(line.text, state)
    first = taken[0].number
    yield from refused_pieces(taken, reason)
    while state and (more := next(feed.lines, None)):
        state = quoting.state_after(more.text, state)
        yield Record(more.number, (more.text,), [], _piece_of(first))


def refused_pieces(lines: Sequence[TextLine], reason: str) -> Iterator[Record]:
    """The lines of a record that cannot be read, each refused by itself."""
    for line in lines:
        of_first = reason if line is lines[0] else _piece_of(lines[0].number)
        unreadable = line.error if line.error != BLANK_LINE or line is lines[0] else None
        yield Record(line.number, (line.text,), [], unreadable or of_first)


def _piece_of(number: int) -> str:
    return f"not CSV (of the record that begins in line {number})"
