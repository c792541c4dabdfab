"""Impressions as data: parts that follow in time, histories from before, files of three forms."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from small_clicks import MIDNIGHT, TEXTS, write_clicks_lake
from small_corpus import DAY

from analyst import open_lake
from contracts.errors import BadInput, MissingTable
from contracts.instants import DAY_MICROSECONDS, midnight_microseconds
from contracts.paths import Places
from contracts.provenance import VIEW_TIMES_MADE_UP
from downstream.data.views import read_views
from experiments.data.click_data import DataSettings, click_data, history_bounds
from experiments.data.impression_files import (
    impression_file,
    read_impression_file,
)
from experiments.data.views_as_impressions import shown_from_views
from spark_jobs.transforms.plain_title import normalized_text

DAYS = {"training_days": 3, "validation_days": 1, "test_days": 2}
ROWS = [
    {"user_id": "user0", "event_time": MIDNIGHT + timedelta(hours=hour), "title": title,
     "clicked": clicked}
    for hour in (1, 80, 100)
    for title, clicked in (("Red  SHOES", True), ("green tea", False), ("never seen tea", False))
]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("clicks"))
    write_clicks_lake(places)
    return places


def data(places, folder, impressions="views"):
    settings = DataSettings(as_of=DAY, impressions=impressions, **DAYS)
    return click_data(open_lake(places), settings, folder)


def write_rows(places, name, rows, suffix=".parquet"):
    path = places.root / "impressions" / f"{name}{suffix}"
    path.parent.mkdir(exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".csv":
        csv.write_csv(table, path)
    else:
        lines = [
            f'{{"user_id":"{r["user_id"]}","event_time":"{r["event_time"]:%Y-%m-%dT%H:%M:%SZ}",'
            f'"title":"{r["title"]}","clicked":{int(r["clicked"])}}}\n'
            for r in rows
        ]
        path.write_text("".join(lines))
    return path


def test_a_history_ends_before_its_impression_and_the_parts_follow_each_other(places, tmp_path):
    """Each user has a session of four views before the day, and one a day from it on."""
    found = data(places, tmp_path)
    sizes = {name: part.histories.lengths() for name, part in found.parts.items()}
    assert sorted(set(sizes["training"])) == [4, 8, 12]
    assert set(sizes["validation"]) == {16}
    assert sorted(set(sizes["test"])) == [20, 24]
    assert found.facts["counts"]["training_impressions"] == len(found.parts["training"])


def test_a_view_at_the_instant_of_an_impression_is_not_in_its_history(places):
    views = read_views(open_lake(places), DAY, 6, 100)
    times = views.times[views.offsets[:-1]]  # each user's first view
    begins, ends = history_bounds(views, np.arange(len(views)), times)
    assert (begins == ends).all()
    _, ends = history_bounds(views, np.arange(len(views)), times + 1)
    assert (ends == begins + 1).all()


def test_the_times_of_views_and_impressions_come_along(places, tmp_path):
    part = data(places, tmp_path).parts["test"]
    owners = np.repeat(np.arange(len(part)), part.histories.lengths())
    assert (part.history_times < part.instants[owners]).all()
    first = part.histories.offsets[:-1]
    ages = (part.instants - part.history_times[first]) / DAY_MICROSECONDS
    assert set(ages.round()) == {7, 8}  # the first view was three days before the day


def test_views_whose_times_are_made_up_have_none(places, tmp_path):
    path = write_rows(places, "mind", ROWS)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({VIEW_TIMES_MADE_UP: b"true"}), path)
    found = data(places, tmp_path, "mind")
    assert found.parts["training"].times is None
    assert found.facts["view_times"] == "made up"


def test_impressions_from_before_the_day_are_left_out(places, tmp_path):
    early = [row | {"event_time": MIDNIGHT - timedelta(hours=1)} for row in ROWS[:3]]
    write_rows(places, "early", ROWS + early)
    found = data(places, tmp_path, "early")
    assert [len(found.parts[name]) for name in ("training", "validation", "test")] == [1, 1, 1]


def test_what_a_session_did_not_view_is_what_others_viewed_that_week(places):
    views = read_views(open_lake(places), DAY, 6, 100)
    shown = shown_from_views(views, DAY)
    assert (np.diff(shown.times) >= 0).all()
    late = views.between(midnight_microseconds(DAY), np.iinfo(np.int64).max)
    viewed = set(zip(late.owners().tolist(), late.titles.tolist(), strict=True))
    owners = np.repeat(shown.users, shown.candidates.lengths()).tolist()
    pairs = zip(owners, shown.candidates.values.tolist(), strict=True)
    assert [pair in viewed for pair in pairs] == shown.clicked.tolist()
    assert set(shown.candidates.values) <= set(late.titles)


def test_the_three_forms_of_a_file_are_the_same_impressions(places):
    read = [
        read_impression_file(write_rows(places, "forms", ROWS, suffix)).to_pylist()
        for suffix in (".parquet", ".csv", ".jsonl")
    ]
    assert read[0] == read[1] == read[2]
    assert read[0][0]["event_time"] == int(ROWS[0]["event_time"].timestamp() * 1e6)
    with pytest.raises(MissingTable, match=r"must hold one of forms\.parquet"):
        impression_file(places, "forms")


def test_shown_titles_are_the_lakes_own_and_new_ones_get_words(places, tmp_path):
    write_rows(places, "file", ROWS)
    found = data(places, tmp_path, "file")
    ids = found.titles.title_ids[found.parts["test"].candidates[0]]
    assert ids[:2].tolist() == list(TEXTS)
    assert ids[2] < 0
    words = found.titles.words.to_pylist()
    assert words[found.parts["test"].candidates[0][2]] == ["never", "seen", "tea"]
    assert normalized_text(" Red\t\u00a0SHOES\x85") == "red shoes"


def test_rows_that_do_not_say_whether_they_were_clicked_are_left_out(places):
    unlabelled = [row | {"clicked": None} for row in ROWS]
    path = write_rows(places, "mixed", ROWS + unlabelled)
    assert read_impression_file(path).num_rows == len(ROWS)
    with pytest.raises(BadInput, match="no row that says whether a title was clicked"):
        read_impression_file(write_rows(places, "unlabelled", unlabelled))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clicked": 2}, "clicked is 2; it must be 0, 1, true or false"),
        ({"event_time": "noon"}, "event_time is not a time such as 2026"),
        ({"user_id": None}, "rows have no user_id"),
    ],
)
def test_rows_that_do_not_fit_are_named(places, change, message):
    path = write_rows(places, "wrong", [row | change for row in ROWS])
    with pytest.raises(BadInput, match=message):
        read_impression_file(path)


def test_a_part_without_impressions_is_bad_input(places, tmp_path):
    settings = DataSettings(as_of=DAY + timedelta(days=5), **DAYS)
    with pytest.raises(BadInput, match="no impression for validation, test in 2020-02-05"):
        click_data(open_lake(places), settings, tmp_path)
    with pytest.raises(BadInput, match="test_days is 0; each must be 1 or more"):
        DataSettings(as_of=DAY, test_days=0)


def test_a_smaller_share_of_the_labels_is_part_of_a_larger_one(places, tmp_path):
    found = data(places, tmp_path)
    rows = [
        {tuple(part.candidates[row]) for row in range(len(part))}
        for part in (found.training_share(share, 3) for share in (0.1, 0.5, 1.0))
    ]
    assert rows[0] <= rows[1] <= rows[2]
    assert len(found.training_share(0.1, 3)) == round(0.1 * len(found.parts["training"]))


def test_times_without_a_zone_are_utc(places):
    naive = [row | {"event_time": datetime(2020, 1, 31, 1)} for row in ROWS]
    table = read_impression_file(write_rows(places, "naive", naive))
    expected = datetime(2020, 1, 31, 1, tzinfo=UTC).timestamp() * 1e6
    assert table["event_time"][0].as_py() == expected
