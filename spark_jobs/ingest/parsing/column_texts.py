"""Values of every type as the text that browsing_logs keeps of them.

One rule for all formats: a number is written plainly, without an exponent and without zeros at its
end, so that 123, 123.0 and the decimal 123.00 are one user; NaN and the infinities are null; bytes
are UTF-8 or refused; dates and times have their ISO form, and times with a zone that of UTC; a
value that holds others is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.ingest.parsing.parsed_lines import INSTANT, TEXT, Column

Problems = dict[int, str]  # by the value's place, why it has no text
_UNITS_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_SECONDS_A_DAY = 86_400
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800  # their first seconds, since 1970
_FARTHEST = 9 * 10**18  # microseconds since 1970 that Spark can write, in the year 287167


class NoText(ValueError):
    """A value that is no text, and why."""


def text_of(value: Any) -> str | None:
    """A value of JSON as text; `NoText` where it holds other values.

    MongoDB's extended JSON wraps what JSON has no type for, as in {"$oid": "507f"}: the value is
    the one inside.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal):
        return _number_text(value)
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        return text_of(next(iter(value.values())))
    kind = "an object" if isinstance(value, dict) else "a list"
    raise NoText(f"{kind}; name the value inside it by its path")


def _number_text(number: float | Decimal) -> str | None:
    """Without an exponent and without zeros at the end; None for NaN and the infinities."""
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    if not exact.is_finite():
        return None
    text = format(exact, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def texts_of(values: Column) -> tuple[Column, Problems]:
    """The text of each value of an Arrow array (N,) of any type, or null; and who has none."""
    values = _plain(values)
    for has_type, convert in _CONVERSIONS:
        if has_type(values.type):
            return convert(values)
    reason = f"of type {values.type}"
    if pa.types.is_nested(values.type):
        reason += "; name the value inside it by its path"
    return pa.nulls(len(values), TEXT), dict.fromkeys(_places(values.is_valid()), reason)


def _plain(values: Column) -> Column:
    """Without the types that only say how values are kept."""
    if isinstance(values.type, pa.BaseExtensionType):
        if values.type.extension_name == "arrow.uuid":
            return pa.array([value and str(value) for value in values.to_pylist()], TEXT)
        return _plain(values.storage)  # type: ignore[attr-defined]
    if pa.types.is_dictionary(values.type):
        return _plain(values.dictionary_decode())  # type: ignore[attr-defined]
    if pa.types.is_run_end_encoded(values.type):
        return _plain(pc.run_end_decode(values))  # type: ignore[attr-defined]
    return values


def _places(mask: Column) -> list[int]:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()


def _same(values: Column) -> tuple[Column, Problems]:
    return values.cast(TEXT), {}


def _unicode(values: Column) -> tuple[Column, Problems]:
    """Parquet's readers do not look whether its texts are UTF-8."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return _bytes(values.cast(pa.binary()))
    return values.cast(TEXT), {}


def _bytes(values: Column) -> tuple[Column, Problems]:
    problems: Problems = {}
    texts: list[str | None] = [None] * len(values)
    for place, value in enumerate(values.to_pylist()):
        try:
            texts[place] = None if value is None else value.decode()
        except UnicodeDecodeError as error:
            problems[place] = f"not UTF-8, byte {error.start + 1}"
    return pa.array(texts, TEXT), problems


def _numbers(values: Column) -> tuple[Column, Problems]:
    # Of half floats and of short decimals Arrow finds no distinct values.
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    elif pa.types.is_decimal(values.type) and values.type.bit_width < 128:
        values = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    distinct: Any = pc.dictionary_encode(values)  # each distinct number is written once
    if pa.types.is_floating(distinct.type.value_type):
        # Arrow writes a float32 as shortly as it can; Python would widen it first.
        written = distinct.dictionary.cast(TEXT).to_pylist()
        texts = [None if text is None else _number_text(Decimal(text)) for text in written]
    else:
        texts = [None if n is None else _number_text(n) for n in distinct.dictionary.to_pylist()]
    found: Column = pa.array(texts, TEXT).take(distinct.indices)  # (distinct,) -> (N,)
    return found, {}


def _integers(values: Column) -> Any:
    """(N,) int64, 0 where there is none."""
    bits = 32 if values.type.bit_width == 32 else 64
    kind = pa.int32() if bits == 32 else pa.int64()
    return values.view(kind).fill_null(0).to_numpy().astype(np.int64)


def _no_time(values: Column) -> Any:
    """(N,) bool: where there is no date or time. The lowest of all numbers is pandas' NaT."""
    is_null = values.is_null().to_numpy(zero_copy_only=False)
    return is_null | (_integers(values) == np.iinfo(np.int64).min)


def _from_numpy(values: Column, texts: Any) -> Column:
    found: Column = pa.array(texts, TEXT, mask=_no_time(values))
    return found


def _dates(values: Column) -> tuple[Column, Problems]:
    unit = "D" if pa.types.is_date32(values.type) else "ms"
    days = _integers(values).astype(f"datetime64[{unit}]").astype("datetime64[D]")  # (N,)
    return _from_numpy(values, np.datetime_as_string(days)), {}


def _times(values: Column) -> tuple[Column, Problems]:
    """Times of a day, as 10:00:00 or 10:00:00.25."""
    numbers = _integers(values)  # (N,)
    is_of_day = (numbers >= 0) & (numbers < _UNITS_A_SECOND[values.type.unit] * _SECONDS_A_DAY)
    moments = np.where(is_of_day, numbers, 0).astype(f"datetime64[{values.type.unit}]")
    texts = [text.split("T")[1] for text in _short(np.datetime_as_string(moments))]
    problems = dict.fromkeys(np.flatnonzero(~is_of_day).tolist(), "beyond the 24 hours of a day")
    found = pc.if_else(pa.array(is_of_day), _from_numpy(values, texts), pa.scalar(None, TEXT))
    return found, problems


def _timestamps(values: Column) -> tuple[Column, Problems]:
    """In Python's datetime a year beyond 9999 would end the run."""
    moments = _integers(values).astype(f"datetime64[{values.type.unit}]")  # (N,)
    zone = "Z" if values.type.tz else ""
    texts = [f"{text}{zone}" for text in _short(np.datetime_as_string(moments))]
    return _from_numpy(values, texts), {}


def _short(texts: Any) -> list[str]:
    """Times without the zeros at the end of their fractions."""
    return [text.rstrip("0").rstrip(".") if "." in text else text for text in texts.tolist()]


def _either(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda kind: any(test(kind) for test in tests)


_CONVERSIONS: tuple[tuple[Callable[[Any], bool], Callable[[Column], tuple[Column, Problems]]], ...]
_CONVERSIONS = (
    (_either(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view), _unicode),
    (_either(pa.types.is_integer, pa.types.is_boolean, pa.types.is_null), _same),
    (pa.types.is_timestamp, _timestamps),
    (_either(pa.types.is_floating, pa.types.is_decimal), _numbers),
    (
        _either(
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        ),
        _bytes,
    ),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times),
)


def times_of(times: Column, zone_is_utc: bool) -> tuple[Column, Column]:
    """Timestamps (N,) as texts and as instants, to the microsecond.

    An instant is null where its text must be read: that of a time without a zone, unless
    `zone_is_utc`. A text is null where the instant says it all: in the years 1 to 9999. What is too
    far for microseconds is an instant as far as they reach, and its text.
    """
    units = _UNITS_A_SECOND[times.type.unit]
    values = _integers(times)  # (N,)
    if units > 1_000_000:
        micros = values // (units // 1_000_000)  # nanoseconds, cut to the microsecond before
    else:
        limit = _FARTHEST * units // 1_000_000
        micros = np.clip(values, -limit, limit) * (1_000_000 // units)
    seconds = micros // 1_000_000
    is_usual = (seconds >= _YEAR_1) & (seconds < _YEAR_10000)  # (N,) bool
    is_null = _no_time(times)
    is_local = times.type.tz is None and not zone_is_utc
    instants: Column = pa.array(
        np.clip(micros, -_FARTHEST, _FARTHEST), pa.int64(), mask=is_null | (is_usual & is_local)
    ).cast(INSTANT)
    if is_usual.all() and not is_local:
        return pa.nulls(len(times), TEXT), instants
    texts, _ = _timestamps(times)
    kept: Column = pc.if_else(pa.array(is_usual & (not is_local)), pa.scalar(None, TEXT), texts)
    return kept, instants


def rows_at(batch: pa.RecordBatch, places: Sequence[int]) -> pa.RecordBatch:
    """Rows of a batch. Arrow's own `take` knows no views of texts, of bytes and of lists."""
    if len(places) == batch.num_rows:
        return batch
    table = pa.Table.from_batches([batch])
    try:
        found = table.take(pa.array(places, pa.int64()))
    except pa.ArrowNotImplementedError:
        found = pa.concat_tables([table.slice(place, 1) for place in places] or [table.slice(0, 0)])
    return pa.record_batch(
        [column.combine_chunks() for column in found.columns], schema=batch.schema
    )


def json_rows(batch: pa.RecordBatch) -> list[str]:
    """Each row of a batch as JSON, with all of its columns, also those of one name."""
    names = [json.dumps(name, ensure_ascii=False) for name in batch.schema.names]
    columns = [_json_values(column) for column in batch.columns]
    rows: Sequence[tuple[Any, ...]] = list(zip(*columns, strict=True)) if columns else []
    # Not by a dict, which would keep one of two columns of a name.
    return ["{" + ", ".join(map(_member, names, row)) + "}" for row in rows]


def _member(name: str, value: Any) -> str:
    return f"{name}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"


def _json_values(values: Any) -> list[Any]:
    """What JSON can hold of each value: numbers as they are, all else as `texts_of` writes it."""
    values = _plain(values)
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return list(values.to_pylist())
    if pa.types.is_floating(kind):
        finite: Any = pc.if_else(pc.is_finite(values.cast(pa.float64())), values, None)
        return list(finite.to_pylist())
    if pa.types.is_nested(kind):
        return nested_values(values)
    texts, problems = texts_of(values)
    found = texts.to_pylist()
    for place in problems:
        found[place] = _any_text(values[place])
    return found


def _any_text(value: Any) -> str:
    try:
        raw = value.as_py()
    except UnicodeDecodeError as error:  # a text that is no UTF-8
        raw = error.object
    except (OverflowError, ValueError):  # a time or a duration that Python cannot hold
        raw = value.value
    return raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else str(raw)


def nested_values(column: Any) -> list[Any]:
    """Structs as objects, lists as lists, a map as a list of its entries."""
    values: Any = _plain(column)
    kind = values.type
    if pa.types.is_struct(kind):
        fields = [kind.field(n) for n in range(kind.num_fields)]
        columns = [_json_values(column) for column in values.flatten()]
        rows = zip(*columns, strict=True) if columns else [()] * len(values)
        found: list[Any] = [
            dict(zip((field.name for field in fields), row, strict=True)) for row in rows
        ]
    elif hasattr(values, "offsets") and not pa.types.is_union(kind):
        inner = _json_values(_entries(values))
        found = [inner[start:end] for start, end in _bounds(values)]
    elif pa.types.is_fixed_size_list(kind):
        inner, size = _json_values(values.values), kind.list_size
        first = values.offset  # of the whole array, whose elements `values.values` are
        found = [inner[n * size : (n + 1) * size] for n in range(first, first + len(values))]
    else:
        return [None if value is None else str(value) for value in values.to_pylist()]
    valid = values.is_valid().to_pylist()
    return [value if there else None for value, there in zip(found, valid, strict=True)]


def _bounds(values: Any) -> list[tuple[int, int]]:
    """Where the elements of each list begin and end."""
    starts = values.offsets.to_pylist()
    if hasattr(values, "sizes"):  # a view of lists, which may lie in any order
        return [
            (start, start + size)
            for start, size in zip(starts, values.sizes.to_pylist(), strict=True)
        ]
    return list(pairwise(starts))


def _entries(values: Any) -> Column:
    """All elements of a list array, without regard to where it was cut."""
    if not pa.types.is_map(values.type):
        return values.values  # type: ignore[no-any-return]
    entries: Column = pa.StructArray.from_arrays([values.keys, values.items], ["key", "value"])
    return entries
