"""A MIND data set as landing files. The few lines of it here are ours."""

import json
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from contracts.errors import BadInput
from contracts.landing_settings import read_settings
from contracts.provenance import VIEW_TIMES_MADE_UP
from contracts.terminal.command_line import parse_options
from landing.mind import convert_folders, main
from landing.mind_impressions import write_mind_impressions

NEWS = """\
N1\tsports\tsoccer\tLate goal wins the derby\tAn abstract\thttps://news.example/1\t[]\t[]
N2\tfood\trecipes\tFive soups for "cold" days\t\thttps://news.example/2\t[]\t[]
N3\ttravel\tcities\tCafés of Zürich\t\thttps://news.example/3\t[]\t[]
only an id
"""
BEHAVIORS = """\
1\tU1\t11/12/2019 9:05:58 AM\tN1 N2\tN3-1 N1-0
2\tU2\t11/11/2019 11:59:59 PM\t\tN2-1 N3-0 N1-1
3\tU1\t11/11/2019 1:00:00 PM\tN2 N1\tN1-0
4\tU1\tyesterday\tN1\tN3-1
5\tU3\t11/12/2019 12:30:00 AM\tN2
6\tU3\t11/12/2019 12:30:00 AM\tN2\tN9-1
7\tU3\t11/12/2019 12:31:00 AM\tN2 N3\tN1
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mind"
    folder.mkdir()
    (folder / "news.tsv").write_text(NEWS, encoding="utf-8")
    (folder / "behaviors.tsv").write_text(BEHAVIORS, encoding="utf-8")
    return folder


def landed(root):
    """Landing lines by day."""
    return {
        path.parent.name: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in sorted(root.glob("*/mind.jsonl"))
    }


def views(root):
    return sorted(
        (line["user"], line["time"], line["title"])
        for lines in landed(root).values()
        for line in lines
        if "user" in line
    )


def test_clicks_become_views_at_their_impressions_time(folder, tmp_path):
    convert_folders([folder], tmp_path, spacing=None)
    assert views(tmp_path)[:3] == [
        ("U1", "2019-11-12T09:05:58Z", "Cafés of Zürich"),
        ("U2", "2019-11-11T23:59:59Z", 'Five soups for "cold" days'),
        ("U2", "2019-11-11T23:59:59Z", "Late goal wins the derby"),
    ]


def test_a_history_comes_in_its_order_before_the_users_first_impression(folder, tmp_path):
    """U1's first impression is the third line, at 13:00 of the 11th, without a click."""
    convert_folders([folder], tmp_path, spacing=timedelta(hours=6))
    assert [view for view in views(tmp_path) if view[0] == "U1"] == [
        ("U1", "2019-11-11T01:00:00Z", 'Five soups for "cold" days'),
        ("U1", "2019-11-11T07:00:00Z", "Late goal wins the derby"),
        ("U1", "2019-11-12T09:05:58Z", "Cafés of Zürich"),
    ]


def test_the_test_set_has_histories_and_no_clicks(folder, tmp_path):
    lines = [line.replace("-1", "").replace("-0", "") for line in BEHAVIORS.splitlines()[:3]]
    (folder / "behaviors.tsv").write_text("\n".join(lines), encoding="utf-8")
    _, counts = convert_folders([folder], tmp_path, spacing=timedelta(hours=6))
    assert counts["shown without a label"] == 6
    assert not counts["broken behavior lines"]
    assert views(tmp_path) == [
        ("U1", "2019-11-11T01:00:00Z", 'Five soups for "cold" days'),
        ("U1", "2019-11-11T07:00:00Z", "Late goal wins the derby"),
    ]


def test_each_line_lands_on_the_day_of_its_time(folder, tmp_path):
    convert_folders([folder], tmp_path, spacing=timedelta(hours=6))
    for day, lines in landed(tmp_path).items():
        assert all(line["time"].startswith(day) for line in lines if "user" in line)


def test_nothing_is_lost(folder, tmp_path):
    _, counts = convert_folders([folder], tmp_path, spacing=timedelta(hours=6))
    assert dict(counts) == {
        "broken news lines": 1,
        "history views": 3,  # U1's two, U3's one; U2 has none
        "clicks": 4,
        "views of unknown news": 1,  # N9
        "impressions": 4,
        "shown and not clicked": 3,
        "broken behavior lines": 3,
        "history changed": 0,
    }
    broken = [line for lines in landed(tmp_path).values() for line in lines if "broken" in line]
    assert [(line["line"], line["why"]) for line in broken] == [
        (4, "time data 'yesterday' does not match format '%m/%d/%Y %I:%M:%S %p'"),
        (5, "4 fields, not 5"),
        (7, "impression 'N1' ends in neither -0 nor -1"),
    ]
    assert [line["broken"] for line in broken] == [BEHAVIORS.splitlines()[n] for n in (3, 4, 6)]
    assert ("U3", "2019-11-12T00:30:00Z", None) in views(tmp_path)


def test_a_history_that_grows_later_is_counted(folder, tmp_path):
    with (folder / "behaviors.tsv").open("a") as file:
        file.write("8\tU2\t11/13/2019 8:00:00 AM\tN3\tN1-0\n" * 2)
    _, counts = convert_folders([folder], tmp_path, spacing=None)
    assert counts["history changed"] == 1


def test_folders_are_read_as_one_data_set(folder, tmp_path):
    """The second folder's impression is older, so the history goes before it."""
    earlier = tmp_path / "dev"
    earlier.mkdir()
    (earlier / "news.tsv").write_text("N9\tautos\tnew\tA quieter engine\t\t\t\t\n")
    (earlier / "behaviors.tsv").write_text("1\tU3\t11/10/2019 6:00:00 PM\tN9\tN9-0\n")
    _, counts = convert_folders([folder, earlier], tmp_path / "landing", spacing=timedelta(hours=1))
    assert counts["views of unknown news"] == 0
    assert [view for view in views(tmp_path / "landing") if view[0] == "U3"] == [
        ("U3", "2019-11-10T17:00:00Z", "A quieter engine"),
        ("U3", "2019-11-12T00:30:00Z", "A quieter engine"),
    ]


def test_the_days_with_lines_are_named(folder, tmp_path):
    with (folder / "behaviors.tsv").open("a") as file:
        file.write("8\tU2\t11/15/2019 8:00:00 AM\t\tN1-1\n")
    days, _ = convert_folders([folder], tmp_path, spacing=None)
    assert [day.isoformat() for day in days] == list(landed(tmp_path))
    assert [day.day for day in days] == [11, 12, 15]


def test_the_same_data_set_gives_the_same_bytes(folder, tmp_path):
    for name in ("one", "other"):
        convert_folders([folder], tmp_path / name, spacing=timedelta(hours=6))
    one, other = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in ("one", "other")
    )
    assert one == other
    assert len(one) == 4  # two days and two files of settings: nothing hidden is left


def test_the_command_says_how_its_lines_are_read(folder, tmp_path, capsys):
    flags = [str(folder), "--out", str(tmp_path), "--no-history"]
    main(**parse_options(main, flags))
    settings = read_settings(tmp_path / "landing/settings.toml")
    assert settings.columns["user_id"] == "user"
    assert "clicks" in capsys.readouterr().out


def test_a_failure_leaves_no_half_files(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("landing.mind._Conversion.land_impressions", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert_folders([folder], tmp_path / "landing", spacing=timedelta(hours=6))
    left = sorted(p.name for p in (tmp_path / "landing").rglob("*") if p.is_file())
    assert left == ["arrival.toml", "settings.toml"]


def test_a_folder_without_mind_says_what_belongs_there(tmp_path):
    with pytest.raises(BadInput, match=r"news\.tsv is missing: a MIND folder holds"):
        convert_folders([tmp_path], tmp_path, spacing=None)


def test_files_that_are_not_mind_are_refused(folder, tmp_path):
    (folder / "behaviors.tsv").write_text("user,time\n")
    with pytest.raises(BadInput, match="as MIND describes it"):
        convert_folders([folder], tmp_path, spacing=None)


def test_what_was_shown_becomes_rows_of_impressions(folder, tmp_path):
    """U1's N3 and N1, U2's three, U1's N1; N9 is unknown, and broken lines are left out."""
    path = tmp_path / "impressions/mind.parquet"
    counts = write_mind_impressions([folder], path)
    rows = pq.read_table(path).to_pylist()
    assert counts == {"impression rows": 6, "shown news without a title": 1}
    assert VIEW_TIMES_MADE_UP in pq.read_schema(path).metadata
    write_mind_impressions([folder], path, has_histories=False)
    assert pq.read_schema(path).metadata is None
    assert [(row["user_id"], row["clicked"]) for row in rows] == [
        ("U1", True), ("U1", False), ("U2", True), ("U2", False), ("U2", True), ("U1", False),
    ]  # fmt: skip
    assert rows[0]["title"] == "Cafés of Zürich"
    assert f"{rows[0]['event_time']:%Y-%m-%dT%H:%M:%S}" == "2019-11-12T09:05:58"
    assert rows[0]["impression_id"] == rows[1]["impression_id"] != rows[2]["impression_id"]


def test_impressions_of_the_test_set_do_not_say_what_was_clicked(folder, tmp_path):
    lines = [line.replace("-1", "").replace("-0", "") for line in BEHAVIORS.splitlines()[:3]]
    (folder / "behaviors.tsv").write_text("\n".join(lines), encoding="utf-8")
    write_mind_impressions([folder], tmp_path / "mind.parquet")
    assert pq.read_table(tmp_path / "mind.parquet")["clicked"].null_count == 6
