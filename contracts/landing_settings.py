"""How landing files are to be read: landing/settings.toml, one file for all of them.

format = "jsonl"          # or "csv", "parquet"
time_zone = "UTC"         # of the times that carry no zone of their own, and of the landing days
time_format = "iso"       # or "epoch_s", "epoch_ms", "epoch_us", or a Spark datetime pattern
damaged_files = "stop"    # or "refuse": a file that cannot be read is refused, the others go in
symlinks = "refuse"       # or "follow": files that are links to files elsewhere are read
mask = ["email", "url"]   # what of titles and hosts is masked; phone, card, iban and ssn, too
nobody = ["anonymous"]    # ids that stand for no particular user; their lines are refused
tokenizer = "nltk"        # or "jieba" (Chinese), "janome" (Japanese), "pythainlp" (Thai)

[columns]                 # ours = yours
user_id = "visitor"
event_time = "at"
title = "properties.title"  # a path, where the value is inside another one
host = "site"             # may be left out
log_id = "id"             # may be left out: then a view is known by all its facts

[csv]                     # may be left out
delimiter = ","
quote = '"'               # "" where no value is quoted
escape = ""               # the character before a quote that is part of the value, often "\\"
encoding = "utf-8"
header = []               # the names of the columns, where the files' first line is a view already

[pseudonyms]              # may be left out; then ids are stored as they were logged
columns = ["user_id"]     # and optional columns, such as host
key_file = "/etc/userbert/pseudonyms.keys"  # or key_variable: an environment variable with the path
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from typing_extensions import TypedDict

from contracts.errors import BadInput
from contracts.tables import BROWSING_LOGS

REQUIRED_COLUMNS = ("user_id", "event_time", "title")
# What a view may lack is a nullable text of browsing_logs: its entry in contracts/tables.py is all
# that a new optional column takes.
OPTIONAL_COLUMNS = tuple(column.name for column in BROWSING_LOGS.columns if column.nullable)
ARRIVAL_FILE = "arrival.toml"  # next to settings.toml: when a landing day is complete
LINE_ID = "log_id"  # settings may name it; each line must have it if they do
LANDING_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, LINE_ID)

_ADVICE = {  # by setting, where pydantic's own words would not say what to write
    "time_format": "say iso, epoch_s, epoch_ms, epoch_us or a Spark datetime pattern such as "
    "dd/MM/yyyy HH:mm:ss",
    "pseudonyms.columns": "say a list of user_id and, if they shall be pseudonyms too, of "
    f"{', '.join(OPTIONAL_COLUMNS)}",
    "nobody": 'say a list of texts such as ["anonymous", "undefined"]',
    "csv.delimiter": "say one character",
    "csv.quote": 'say one character, or "" where no value is quoted',
    "csv.escape": 'say one character, or "" where none is escaped',
    "csv.header": 'say a list of names such as ["user", "time", "title"]',
}
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
WIDE_ENCODINGS = ("utf-16", "utf-32")  # in which a line end is no single byte
_SIGNS = ",;\t|\"'\\\r\n" + 100 * "x"  # long, since IDNA takes short texts alone
_SIGNS_IN_FILES = (_SIGNS.encode(), codecs.BOM_UTF8 + _SIGNS.encode())


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("say an IANA name such as Europe/Paris")
    return name


def _known_encoding(name: str) -> str:
    """Python's own name of the encoding, which has several: utf16, U16 and utf_16 are one.

    It must write the signs of CSV as ASCII does, or be UTF-16 or UTF-32: the lines of a file are
    found before they are decoded.
    """
    try:
        known = codecs.lookup(name).name
        is_readable = known.startswith(WIDE_ENCODINGS) or _SIGNS.encode(known) in _SIGNS_IN_FILES
    except (LookupError, UnicodeError):
        is_readable = False
    if not is_readable:
        raise ValueError("say an encoding of Python such as utf-8, cp1252 or utf-16")
    return known.removesuffix("-sig")  # the byte order mark of a file is never part of its text


def _known_format(name: str, context: ValidationInfo) -> str:
    """The formats are files of the ingest, which this module does not know; its caller may."""
    formats = context.context
    if formats is not None and name not in formats:
        raise ValueError(f"say one of {', '.join(formats)}")
    return name


_ColumnName = Annotated[str, StringConstraints(min_length=1)]
if TYPE_CHECKING:
    _Columns = Mapping[str, str]
else:
    _Columns = TypedDict(
        "_Columns",
        dict.fromkeys(REQUIRED_COLUMNS, _ColumnName)
        | dict.fromkeys((*OPTIONAL_COLUMNS, LINE_ID), NotRequired[_ColumnName]),
    )
    _Columns.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)


class CsvDialect(BaseModel):
    """What separates, quotes and encodes the values of CSV files.

    `header` names the columns of files that do not: without it a file's first line names them.
    """

    model_config = _STRICT
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    quote: Annotated[str, StringConstraints(max_length=1)] = '"'
    escape: Annotated[str, StringConstraints(max_length=1)] = ""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    header: Annotated[tuple[_ColumnName, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _signs_must_differ(self) -> Self:
        signs = [sign for sign in (self.delimiter, self.quote, self.escape) if sign]
        if len(set(signs)) < len(signs) or any(sign in "\r\n\0" for sign in signs):
            raise ValueError(
                "delimiter, quote and escape must be three characters, and none a line end; two "
                "quotes inside of a value are a quote of it without any escape"
            )
        try:
            "".join(signs).encode(self.encoding)
        except UnicodeEncodeError as error:
            lacking = error.object[error.start]
            raise ValueError(f"the encoding {self.encoding} has no {lacking!r}") from None
        return self


def _with_declared_columns(dialect: CsvDialect, context: ValidationInfo) -> CsvDialect:
    """A header out of the settings is for all files: what it lacks, no file has."""
    names = dialect.header
    lacking = [name for name in context.data.get("columns", {}).values() if name not in names]
    if names and lacking:
        raise ValueError(f"header names every column of the files, and it lacks {lacking[0]}")
    if len(set(names)) < len(names):
        raise ValueError("header names a column twice")
    return dialect


class PseudonymSettings(BaseModel):
    """Which columns hold pseudonyms, and where the keys are. Settings never hold a key itself."""

    model_config = _STRICT
    columns: Annotated[
        tuple[Literal["user_id", *OPTIONAL_COLUMNS], ...],  # type: ignore[valid-type]
        Field(strict=False),
    ] = ("user_id",)
    key_file: str = ""  # its path
    key_variable: str = ""  # the environment variable that names its path

    @model_validator(mode="after")
    def _user_and_one_key(self) -> Self:
        if "user_id" not in self.columns:
            raise ValueError("columns must name user_id")
        if bool(self.key_file) == bool(self.key_variable):
            raise ValueError(
                "say either key_file, the path of a key file, or key_variable, the environment "
                "variable that names it"
            )
        return self


class LandingSettings(BaseModel):
    """How to read the landing files. `columns` maps our names to the names in the files."""

    model_config = _STRICT
    format: Annotated[str, AfterValidator(_known_format)]
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    time_format: Annotated[str, StringConstraints(min_length=1)] = "iso"
    damaged_files: Literal["stop", "refuse"] = "stop"
    symlinks: Literal["refuse", "follow"] = "refuse"
    mask: Annotated[
        tuple[Literal["email", "phone", "card", "iban", "ssn", "url"], ...], Field(strict=False)
    ] = ()
    nobody: Annotated[tuple[str, ...], Field(strict=False)] = ()
    tokenizer: Literal["nltk", "jieba", "janome", "pythainlp"] = "nltk"
    columns: _Columns
    csv: Annotated[CsvDialect, AfterValidator(_with_declared_columns)] = CsvDialect()
    pseudonyms: PseudonymSettings | None = None


def are_days_expected(landing: Path) -> bool:
    """False for logs of a demo or a trial, whose days were written once and go on no more."""
    try:
        values = tomllib.loads((landing / ARRIVAL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # none, or one that the clock will complain of
    return values.get("days_expected", True) is not False


def read_settings(path: Path, formats: Collection[str] | None = None) -> LandingSettings:
    """The settings in `path`, or `BadInput` with everything that is wrong with them.

    `formats` are the names that `format` may have; without them any name is taken.
    """
    return checked_settings(_parse(path), str(path), formats)


def checked_settings(
    values: Mapping[str, Any], source: str, formats: Collection[str] | None = None
) -> LandingSettings:
    """The settings of a file's values; `source` names the file where something is wrong."""
    try:
        return LandingSettings.model_validate(values, context=formats)
    except ValidationError as error:
        lines = "\n".join(_in_words(error, values))
    raise BadInput(f"{source} is not as contracts/landing_settings.py describes:\n{lines}")


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(
            f"{path} is missing: it names the format, the time zone and the columns of the "
            "landing files; `userbert init FILE...` writes it from a look at them"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not TOML: {error}") from None


def _in_words(error: ValidationError, values: Mapping[str, Any]) -> Iterator[str]:
    """A line a mistake: which setting, what was found there, what to say instead."""
    for mistake in error.errors():
        names = [str(part) for part in mistake["loc"]]
        yield f"  {'.'.join(names)}: {_problem(mistake['type'], mistake, names)}"


def _problem(kind: str, mistake: Mapping[str, Any], names: list[str]) -> str:
    in_columns = names[0] == "columns"
    if kind == "missing" and names == ["columns"]:
        return f"missing; add a table [columns] with {', '.join(REQUIRED_COLUMNS)}"
    if kind == "missing" and in_columns:
        return f'missing; add {names[-1]} = "the column\'s name in your files"'
    if kind == "missing":
        return f"missing; {_advice(mistake, names)}"
    if kind == "extra_forbidden":
        inner: dict[str, type[BaseModel]] = {"csv": CsvDialect, "pseudonyms": PseudonymSettings}
        model = inner.get(names[0], LandingSettings)
        known = LANDING_COLUMNS if in_columns else tuple(model.model_fields)
        return f"unknown; say one of {', '.join(known)}"
    return f"found {mistake['input']!r}; {_advice(mistake, names)}"


def _advice(mistake: Mapping[str, Any], names: list[str]) -> str:
    if names[0] == "columns":
        return "say the column's name as text"
    if advice := _ADVICE.get(".".join(names[:2]), _ADVICE.get(names[0])):
        return advice
    if names == ["format"] and mistake["type"] == "missing":
        return "say the format of the files, such as jsonl, csv or parquet"
    message = str(mistake["msg"])
    return message.removeprefix("Value error, ").replace("Input should be", "it should be")
