"""The one reader of every list and table of users that a person hands in.

A list is a text file with one user_id a line, or one column of a CSV:

    # asked for by mail on 3 May          a line that begins with # is a comment
    u0000021
    "#17"                                 quotes keep a user_id that begins with # or holds a comma

Spreadsheets and editors leave marks in such files that nobody sees, so these are understood:
a byte order mark (UTF-8, UTF-16 and UTF-32), line ends of any system, blank lines, and blanks,
tabs, no-break spaces and zero-width characters around an id. An id that stands twice counts once.

Where the first line of the file names a column `user_id`, the file is a CSV (separated by commas,
semicolons, tabs or bars), that line is its header and the other columns are ignored. Without such
a line each line is one id; a file named .csv or .tsv of several columns is refused, since nobody
could say which of them holds the users.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import BadInput

USER_COLUMN = "user_id"
# The longest mark first: UTF-32's begins with UTF-16's.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Characters without width that str.strip() does not take for white space.
_ZERO_WIDTH = "\ufeff\u200b\u200c\u200d\u2060\u180e"
# What is no part of an id where it stands at its ends. Unicode's white space ends at U+3000.
EDGE_CHARACTERS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _ZERO_WIDTH
_SEPARATORS = ",;\t|"
_SAVE_AS = "Save the file as UTF-8, or as UTF-16 with a byte order mark."


def trim_user_id(text: str) -> str:
    """`text` without white space (of any alphabet) and zero-width characters at its ends."""
    return text.strip(EDGE_CHARACTERS)


@dataclass(frozen=True)
class UserList:
    """Users whom a person named. `ids` are trimmed, each once, in the order they were given.

    `spellings` are those ids, and the texts as they were given where trimming changed them. A
    search that must miss nobody looks for all of them.
    """

    ids: tuple[str, ...]
    spellings: tuple[str, ...]
    num_comments: int = 0


@dataclass(frozen=True)
class CsvTable:
    """A CSV with a header: all values are text, as they were given."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, list[str]]]  # (number of the line in the file, from 1; its values)


def read_text(path: Path) -> str:
    """The text of a file that a person made, without its byte order mark; `BadInput` if unread."""
    return _read(path)[0]


def _read(path: Path) -> tuple[str, bool]:
    """The text, and whether a byte order mark stood before it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    encoding = next((code for mark, code in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}, line {line}, is not {encoding.upper()} text. {_SAVE_AS}") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise BadInput(f"{path}, line {line}, holds a NUL character, as no text does. {_SAVE_AS}")
    return text, encoding != "utf-8"


def read_csv_table(path: Path, required: Sequence[str]) -> CsvTable:
    """The CSV in `path`, whose header must name each of `required` columns once.

    Blank lines are left out. A line with more or fewer values than the header is refused.
    """
    text = read_text(path)
    first = next((line for line in _lines(text) if line.strip()), "")
    separator = _separator(first, required) or ","
    numbered = [(n, row) for n, row in _csv_rows(path, text, separator) if any(map(str.strip, row))]
    if not numbered:
        raise BadInput(f"{path} is empty: its first line names the columns {', '.join(required)}")
    columns = tuple(trim_user_id(name) for name in numbered[0][1])
    for name in required:
        if columns.count(name) != 1:
            times = "no column" if name not in columns else "more than one column"
            raise BadInput(f"{path} has {times} {name}; its first line is {first!r}")
    for number, row in numbered[1:]:
        if len(row) != len(columns):
            raise BadInput(
                f"{path}, line {number}: {len(row)} values, and the header names {len(columns)}"
            )
    return CsvTable(path, columns, numbered[1:])


def read_user_list(path: Path, columns: Sequence[str] = (USER_COLUMN,)) -> UserList:
    """The users whom the file names; `BadInput` when it cannot be read, or names nobody.

    `columns` are the names by which a header may call the column of the users.
    """
    text, has_mark = _read(path)
    lines = _lines(text)
    num_comments = sum(map(_is_comment, lines))
    lines = ["" if _is_comment(line) else line for line in lines]  # the others keep their numbers
    first = next(filter(trim_user_id, lines), "")
    if separator := _separator(first, columns):
        given = list(_column(path, "\n".join(lines), separator, columns))
    else:
        _must_be_one_column(path, first, columns)
        given = [_unquoted(line) for line in filter(trim_user_id, lines)]
    if has_mark and given:
        given.append(f"\ufeff{given[0]}")  # as a program that does not know the mark reads it
    if not (users := user_list(given, num_comments)).ids:
        raise BadInput(f"{path} names no user: write one user_id a line")
    return users


def _column(path: Path, text: str, separator: str, columns: Sequence[str]) -> Iterator[str]:
    """The values of the column of users, below the header."""
    rows = ((n, row) for n, row in _csv_rows(path, text, separator) if any(map(str.strip, row)))
    names = [trim_user_id(name) for name in next(rows)[1]]
    place = next(names.index(name) for name in columns if name in names)
    for number, row in rows:
        if len(row) <= place:
            raise BadInput(f"{path}, line {number}, has no value in the column {names[place]}")
        yield row[place]


def user_list(given: Iterable[str], num_comments: int = 0) -> UserList:
    """The users of `given`, blanks left out; perhaps nobody."""
    pairs = [(text, trimmed) for text in given if (trimmed := trim_user_id(text))]
    ids = tuple(dict.fromkeys(trimmed for _, trimmed in pairs))
    return UserList(ids, tuple(dict.fromkeys([*ids, *(text for text, _ in pairs)])), num_comments)


def named_users(
    words: Sequence[str], path: Path | None, columns: Sequence[str] = (USER_COLUMN,)
) -> UserList:
    """Those named on the command line and those in the file; `BadInput` when there is nobody."""
    from_file = read_user_list(path, columns) if path else UserList((), ())
    users = user_list([*words, *from_file.spellings], from_file.num_comments)
    if not users.ids:
        raise BadInput("no user is named: give user_ids, or --file with one user_id a line")
    return users


def _lines(text: str) -> list[str]:
    """Lines end as any system ends them, and nowhere else: an id may hold a form feed."""
    return re.split(r"\r\n|\r|\n", text)


def _is_comment(line: str) -> bool:
    return trim_user_id(line).startswith("#")


def _separator(header: str, columns: Sequence[str]) -> str | None:
    """The separator by which the line is a header that names one of `columns`; None if none."""
    for separator in _SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator), [])
        if any(trim_user_id(cell) in columns for cell in cells):
            return separator
    return None


def _csv_rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        while (row := next(reader, None)) is not None:
            yield reader.line_num, row
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}, is no CSV: {error}") from None


def _must_be_one_column(path: Path, first: str, columns: Sequence[str]) -> None:
    if path.suffix.lower() in (".csv", ".tsv"):
        widths = {s: len(next(csv.reader([first], delimiter=s), [])) for s in _SEPARATORS}
        if max(widths.values()) > 1:
            raise BadInput(
                f"{path} has several columns, and its first line {first!r} calls none of them "
                f"{' or '.join(columns)}: name the column of the users so"
            )


def _unquoted(line: str) -> str:
    """What stands between the quotes of a line that is quoted whole; else the line as it is."""
    text = trim_user_id(line)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return line
