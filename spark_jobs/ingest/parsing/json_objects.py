"""One JSON object as the text of the declared columns, or why it cannot be read."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.landing_settings import OPTIONAL_COLUMNS
from contracts.user_lists import trim_user_id
from spark_jobs.ingest.parsing.column_texts import NoText, text_of
from spark_jobs.ingest.parsing.nested_values import path_of, value_at
from spark_jobs.ingest.parsing.parsed_lines import BLANK_LINE, missing_or_doubled

_Texts = dict[str, str | None]


class _Doubled(dict[str, Any]):
    """An object that has a key more than once."""

    names: Sequence[str] = ()  # all of its keys, as often as they are there


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled = _Doubled(found)
        doubled.names = [name for name, _ in pairs]
        return doubled
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=lambda _: None)


class ObjectReader:
    """Reads the declared columns (ours to theirs) of JSON objects."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = columns

    def read(self, text: str) -> tuple[_Texts, list[str]]:
        """The text of each declared column; the reasons why there is none."""
        try:
            found = _DECODER.decode(text)
        except json.JSONDecodeError as error:
            return {}, [f"not JSON ({error.msg} at column {error.colno})"]
        except RecursionError:
            return {}, ["not JSON (values inside of values, too deep to be read)"]
        except ValueError:
            return {}, [f"not JSON (a number of more than {sys.get_int_max_str_digits():,} digits)"]
        if not isinstance(found, dict):
            return {}, ["not JSON (an object with a key a column was expected)"]
        if not found:
            return {}, [BLANK_LINE]
        texts, reasons = self._texts(found)
        if "\\u" in text:  # an escape may be half a character, which no UTF-8 can hold
            reasons = [_whole_characters(reason) for reason in reasons]
            texts = {name: value and _whole_characters(value) for name, value in texts.items()}
        return ({}, reasons) if reasons else (texts, [])

    def user_of(self, text: str) -> str | None:
        """The user of an object; None where it names none."""
        user = self.read(text)[0].get("user_id")
        return user and trim_user_id(user)

    def _texts(self, found: dict[str, Any]) -> tuple[_Texts, list[str]]:
        names = found.names if isinstance(found, _Doubled) else list(found)
        first_steps = {
            ours: theirs if theirs in found else theirs.split(".")[0]
            for ours, theirs in self._columns.items()
        }
        if isinstance(found, _Doubled) or any(
            step not in found and ours not in OPTIONAL_COLUMNS for ours, step in first_steps.items()
        ):
            lost = {
                ours: theirs if first_steps[ours] not in found else first_steps[ours]
                for ours, theirs in self._columns.items()
            }
            if reasons := missing_or_doubled(names, lost):
                return {}, reasons
        texts: _Texts = {}
        reasons = []
        for ours, theirs in self._columns.items():
            try:
                texts[ours] = text_of(value_at(found, path_of(theirs, names)))
            except NoText as error:
                reasons.append(f"no text in {ours} ({error})")
        return texts, reasons


def objects_of(text: str) -> list[str]:
    """The objects of a line that holds several without a line end between them, as Firehose writes
    them; the line as it is where it holds anything else."""
    pieces, position = [], 0
    while position < len(text):
        try:
            found, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            return [text]
        if not isinstance(found, dict):
            return [text]
        pieces.append(text[position:end])
        position = end
    return pieces or [text]


def _whole_characters(text: str) -> str:
    return text.encode(errors="replace").decode()
