"""Whatever a file or a list holds: nothing crashes, and lines in are lines accepted or refused.

Some hundred examples each; `make test-faults` tries 10,000 of each (--hypothesis-profile=long).
"""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BadInput
from contracts.landing_settings import CsvDialect, LandingSettings
from contracts.limits import MAX_HISTORY_VIEWS, MAX_VIEWS, SESSION_GAP
from contracts.user_lists import EDGE_CHARACTERS, named_users, read_csv_table, read_user_list
from feature_store.history_file import read_points
from spark_jobs.ingest.first_look.file_guess import guess_file
from spark_jobs.ingest.formats import landing_format
from spark_jobs.ingest.parsing import text_files
from spark_jobs.ingest.parsing.packed_files import DamagedFile
from spark_jobs.ingest.parsing.time_texts import EPOCHS, instant_of
from spark_jobs.tables.sequence_pairs import _paired
from spark_jobs.tables.sessions import _cut_all
from spark_jobs.tables.user_sequences import _newest
from tests.faults.hostile_files import hostile_files, is_right, lines_given, look_at

DAY = date(2026, 1, 31)
COLUMNS = {"user_id": "user", "event_time": "time", "title": "title"}
TEXTS = st.text(max_size=20) | st.text(st.characters(codec="utf-8"), max_size=300)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.mark.parametrize("file", hostile_files(), ids=lambda file: f"{file.format}, {file.kind}")
def test_every_line_of_a_hostile_file_is_given_once_or_the_file_is_named(file, folder):
    assert is_right(*look_at(file, folder)), look_at(file, folder)


def is_one_line(error):
    return "\n" not in str(error)


def read_in_parts(content, settings, folder, size):
    """The lines that the reader gives, and those that the audit counts; None for a damaged file."""
    path = folder / "landing"
    path.write_bytes(content)
    before = text_files.PART_BYTES
    text_files.PART_BYTES = size
    try:
        form = landing_format(settings)
        return lines_given(form, path), form.count(path)
    except DamagedFile as error:
        return None if is_one_line(error) else pytest.fail(str(error))
    finally:
        text_files.PART_BYTES = before


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])
PIECES = st.sampled_from(["user", "u1", ",", ";", '"', '""', "'", "\\", "\0", "\ufeff", "\u00e9"])
CSV_TEXTS = st.lists(PIECES | LINE_ENDS | TEXTS, max_size=40).map("".join)
DIALECTS = st.builds(
    lambda delimiter, quote, escape, encoding: {
        "delimiter": delimiter, "quote": quote, "escape": escape, "encoding": encoding
    },
    st.sampled_from(",;\t|"), st.sampled_from(['"', "'", ""]), st.sampled_from(["", "\\"]),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "cp1252", "shift_jis"]),
)  # fmt: skip


@given(CSV_TEXTS, DIALECTS, st.booleans(), st.integers(1, 60))
def test_any_csv_has_as_many_lines_as_the_audit_counts(folder, text, dialect, has_header, size):
    if has_header:
        text = f"user{dialect['delimiter']}time{dialect['delimiter']}title\n{text}"
    content = text.encode(dialect["encoding"], errors="ignore")
    settings = LandingSettings(format="csv", columns=COLUMNS, csv=CsvDialect(**dialect))
    whole = read_in_parts(content, settings, folder, 1 << 20)
    assert whole is None or whole[0] == whole[1]
    assert read_in_parts(content, settings, folder, size) == whole


@given(st.binary(max_size=300) | CSV_TEXTS.map(str.encode), st.sampled_from(["csv", "jsonl"]))
def test_any_bytes_are_lines_or_a_damaged_file(folder, content, form):
    found = read_in_parts(content, LandingSettings(format=form, columns=COLUMNS), folder, 1 << 20)
    assert found is None or found[0] == found[1]


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*COLUMNS.values(), "x"]), JSON_VALUES, max_size=4)
        | JSON_VALUES,
        max_size=6,
    ),
    st.sampled_from(["\n", "\r\n", "", " "]),
    st.booleans(),
)
def test_any_values_of_json_are_a_view_or_refused(folder, objects, end, is_ascii):
    text = "".join(json.dumps(each, ensure_ascii=is_ascii) + end for each in objects)
    content = text.encode(errors="surrogatepass")
    settings = LandingSettings(format="jsonl", columns=COLUMNS)
    found = read_in_parts(content, settings, folder, 1 << 20)
    assert found is not None
    assert found[0] == found[1]
    if "\n" in end:
        assert found[0] == len(objects)


@given(TEXTS | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?"))
def test_any_text_is_a_time_or_none(text):
    for time_format in ("iso", *EPOCHS, "dd/MM/yyyy HH:mm:ss", "yyyyMMdd[ HHmm][XXX]"):
        found = instant_of(text, time_format, "America/New_York")
        assert found is None or found.tzinfo is UTC


LIST_TEXTS = st.lists(
    st.sampled_from(["user_id", "event_timestamp", "2026-01-01", "u1", ",", ";", '"', "#", "\0"])
    | LINE_ENDS | TEXTS,
    max_size=30,
).map("".join)  # fmt: skip


@given(LIST_TEXTS.map(lambda t: t.encode(errors="ignore")) | st.binary(max_size=200))
def test_any_list_that_a_person_hands_in_is_read_or_refused_in_one_line(folder, content):
    path = folder / "list.csv"
    path.write_bytes(content)
    readers = (
        lambda: read_user_list(path),
        lambda: read_csv_table(path, ("user_id", "event_timestamp")),
        lambda: read_points(path),
        lambda: guess_file(path),
    )
    for read in readers:
        try:
            read()
        except BadInput as error:
            if not is_one_line(error):
                raise


@given(st.lists(TEXTS, max_size=5))
def test_named_users_lose_what_is_at_their_ends_and_nothing_else(words):
    wanted = list(
        dict.fromkeys(trimmed for word in words if (trimmed := word.strip(EDGE_CHARACTERS)))
    )
    if wanted:
        assert list(named_users(words, None).ids) == wanted
    else:
        with pytest.raises(BadInput):
            named_users(words, None)


MIDNIGHT = datetime(2026, 1, 20, tzinfo=UTC)
QUARTERS = st.integers(0, 30).map(lambda n: n * 15)  # some are a session apart, some one instant
VIEWS = st.lists(  # (user, minutes since midnight)
    st.tuples(st.sampled_from("abc"), QUARTERS | st.integers(0, 9000)), min_size=1, max_size=80
)


def view_batches(views, size):
    """As Spark gives them to Python: users in a row by a hash that two of them share."""
    ordered = sorted(views, key=lambda view: view[1][0] == "c")
    for start in range(0, len(ordered), size):
        some = ordered[start : start + size]
        yield pa.RecordBatch.from_pydict(
            {
                "user_hash": pa.array([int(user == "c") for _, (user, _) in some], pa.int64()),
                "user_id": [user for _, (user, _) in some],
                "event_time": pa.array(
                    [MIDNIGHT + timedelta(minutes=at) for _, (_, at) in some],
                    pa.timestamp("us", "UTC"),
                ),
                "log_id": pa.array([n for n, _ in some], pa.int64()),
                "title_id": pa.array([n for n, _ in some], pa.int64()),
            }
        )


def session_batches(views, size, since=None, before=None):
    """What `_cut_all` makes of them, with the hash in front; those with a view in the days."""
    for cut in _cut_all(view_batches(list(enumerate(views)), size), 10**6):
        hashes = pa.array([int(user == "c") for user in cut.column(0).to_pylist()], pa.int64())
        columns = [hashes, cut.column(0), cut.column(1), cut.column(3), cut.column(4)]
        names = ["user_hash", "user_id", "start_time", "title_ids", "event_times"]
        sessions = pa.RecordBatch.from_arrays(columns, names)
        if before:
            inside = [
                any(since <= time.date() < before for time in times)
                for times in sessions.column("event_times").to_pylist()
            ]
            sessions = sessions.filter(pa.array(inside))
        yield sessions


@given(VIEWS, st.integers(1, 20))
def test_every_view_is_in_one_session_and_a_silence_parts_two(views, size):
    sessions = [row for batch in session_batches(views, size) for row in batch.to_pylist()]
    numbers = sorted(n for row in sessions for n in row["title_ids"])
    assert numbers == list(range(len(views)))
    for row in sessions:
        assert {views[n][0] for n in row["title_ids"]} == {row["user_id"]}
        times = row["event_times"]
        assert all(timedelta(0) <= b - a <= SESSION_GAP for a, b in pairwise(times))
    for user in "abc":
        mine = sorted((r for r in sessions if r["user_id"] == user), key=lambda r: r["start_time"])
        for before, after in pairwise(mine):
            assert after["start_time"] - before["event_times"][-1] > SESSION_GAP


@given(VIEWS, st.integers(1, 20), st.integers(1, 6))
def test_a_sequence_holds_the_newest_views_before_its_day(views, size, days):
    as_of = MIDNIGHT.date() + timedelta(days=days)
    end = MIDNIGHT + timedelta(days=days)
    found = {}
    for batch in _newest(session_batches(views, size), [as_of], days):
        for row in batch.to_pylist():
            assert row["user_id"] not in found
            found[row["user_id"]] = row
    for user in "abc":
        mine = sorted((at, n) for n, (who, at) in enumerate(views) if who == user)
        mine = [n for at, n in mine if MIDNIGHT + timedelta(minutes=at) < end]
        assert found.pop(user, {"title_ids": []})["title_ids"] == mine[-MAX_HISTORY_VIEWS:]
    assert not found


@given(VIEWS, st.integers(1, 20), st.integers(1, 6))
def test_pairs_are_of_one_user_and_follow_one_another(views, size, days):
    since, before = MIDNIGHT.date(), MIDNIGHT.date() + timedelta(days=days)
    sessions = session_batches(views, size, since, before)
    for batch in _paired(sessions, since, before):
        for row in batch.to_pylist():
            sides = [row["a_title_ids"], row["b_title_ids"]]
            assert all(0 < len(side) <= MAX_VIEWS for side in sides)
            assert {views[n][0] for side in sides for n in side} == {row["user_id"]}
            assert row["a_end"] < row["b_start"]
            times = [MIDNIGHT + timedelta(minutes=views[n][1]) for side in sides for n in side]
            assert times == row["a_event_times"] + row["b_event_times"]
            assert times == sorted(times)
            assert since <= times[0].date()
            assert times[-1].date() < before
