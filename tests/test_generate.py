"""Generated logs: reproducible, with books that balance and the shapes of real logs."""

import hashlib
import json
from collections import Counter
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from spoiled_landing import rename_column, send_half_to_the_future

from contracts.errors import BadInput
from contracts.landing_settings import read_settings
from landing.synthetic import words
from landing.synthetic.generate import Settings, generate_logs
from landing.synthetic.impressions import TITLES_SHOWN, write_impressions
from landing.synthetic.titles import TOPIC_NAMES, Catalogue, title_codes, topic_of

SMALL = {
    "users": 300,
    "days": 6,
    "seed": 7,
    "late": 0.1,
    "doubled": 0.05,
    "broken": 0.05,
    "bots": 1,
}


def files(root):
    return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}


def sums(root):
    return {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files(root).items()}


def lines(root):
    """(landing day, line) of every landing line."""
    for path in sorted((root / "landing").glob("*/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield path.parent.name, line


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    return root, generate_logs(Settings(**SMALL), root)


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """Views of 2,000 users in 28 days, as (user, time, title, host), without defects."""
    root = tmp_path_factory.mktemp("month")
    asked = {"late": 0.0, "doubled": 0.0, "broken": 0.0, "bots": 0}
    generate_logs(Settings(users=2000, days=28, seed=3, **asked), root)
    return root, [tuple(json.loads(line).values()) for _, line in lines(root)]


def sort_of(landing_day, line):
    """What the ingest will say of a line: a view, or why it is none."""
    try:
        view = json.loads(line)
    except json.JSONDecodeError:
        return "broken_bad_json"
    if "user" not in view:
        return "broken_missing_user"
    if not view["title"].strip():
        return "broken_blank_title"
    if "T" not in view["time"]:
        return "broken_unparsable_time"
    return "broken_future_time" if view["time"][:10] > landing_day else "views"


def test_the_same_seed_gives_the_same_bytes_whatever_runs_side_by_side(small, tmp_path):
    root, _ = small
    generate_logs(Settings(**SMALL), tmp_path, workers=1)
    assert sums(tmp_path) == sums(root)


def test_another_seed_gives_other_bytes(small, tmp_path):
    generate_logs(Settings(**SMALL | {"seed": 8}), tmp_path)
    day = "landing/2017-01-01/views-0000.jsonl"
    assert sums(tmp_path)[day] != sums(small[0])[day]


def test_a_day_does_not_depend_on_how_many_follow(small, tmp_path):
    root, _ = small
    generate_logs(Settings(**SMALL | {"days": 3}), tmp_path)
    short, long = sums(tmp_path / "landing"), sums(root / "landing")
    assert len(short) == 5  # three days and two files of settings
    assert short.items() <= long.items()


def test_a_longer_run_goes_on_in_the_same_folder(small, tmp_path):
    generate_logs(Settings(**SMALL | {"days": 3}), tmp_path)
    generate_logs(Settings(**SMALL), tmp_path)
    assert sums(tmp_path) == sums(small[0])


@pytest.mark.parametrize("other", [{"seed": 8}, {"users": 299}, {"days": 5}, {"format": "parquet"}])
def test_other_settings_are_not_mixed_into_a_folder(small, other):
    root, _ = small
    before = sums(root)
    with pytest.raises(BadInput, match="other settings"):
        generate_logs(Settings(**SMALL | other), root)
    assert sums(root) == before


def test_logs_of_another_form_are_not_mixed_into_a_folder(tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "settings.toml").write_text('format = "csv"\n')
    with pytest.raises(BadInput, match="describes other logs"):
        generate_logs(Settings(**SMALL), tmp_path)


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(BadInput, match=r"late is 2, broken is -1, users is 0, seed is -3"):
        Settings(users=0, days=1, seed=-3, late=2, broken=-1)


def test_the_settings_file_says_how_to_read_the_lines(small):
    settings = read_settings(small[0] / "landing/settings.toml")
    assert (settings.format, settings.time_zone, settings.time_format) == ("jsonl", "UTC", "iso")
    assert dict(settings.columns) == {
        "user_id": "user", "event_time": "time", "title": "title", "host": "host",
    }  # fmt: skip


def test_the_books_balance(small):
    root, summary = small
    assert summary == json.loads((root / "planted/summary.json").read_text())
    found = Counter(sort_of(*line) for line in lines(root))
    views = [line for line in lines(root) if sort_of(*line) == "views"]
    distinct = {line for _, line in views}
    assert found.total() == summary["lines"]
    assert len(distinct) == summary["views"]
    doubled = summary["doubled_same_day"] + summary["doubled_later_day"]
    assert found["views"] == summary["views"] + doubled
    for kind in [name for name in summary if name.startswith("broken_")]:
        assert found[kind] == summary[kind] > 0, kind
    assert doubled > summary["doubled_same_day"] > 0


def test_the_books_balance_day_by_day(small):
    root, summary = small
    found = Counter(day for day, _ in lines(root))
    assert dict(found) == {day: counts["lines"] for day, counts in summary["days"].items()}


def test_late_views_land_a_day_after_they_happened_and_some_land_again(small):
    root, summary = small
    first_landing = {}
    landings = Counter()
    for day, line in lines(root):
        if sort_of(day, line) == "views":
            first_landing.setdefault(line, day)
            landings[line] += day > first_landing[line]
    late = [
        line
        for line, day in first_landing.items()
        if date.fromisoformat(json.loads(line)["time"][:10]) + timedelta(days=1)
        == date.fromisoformat(day)
    ]
    assert len(late) == summary["late"] > 0
    assert landings.total() == summary["doubled_later_day"] > 0
    assert {line for line, n in landings.items() if n} <= set(late)


def test_a_session_can_pass_midnight(month):
    """Its views land on the days that they happened on."""
    times = {}
    for user, time, _, _ in month[1]:
        times.setdefault(user, []).append(np.datetime64(time[:-1]))
    for user in times:
        times[user].sort()
    nights = [
        (before, after)
        for some in times.values()
        for before, after in pairwise(some)
        if after - before < np.timedelta64(25, "m")
        and before.astype("datetime64[D]") < after.astype("datetime64[D]")
    ]
    assert len(nights) > 50


def test_bots_view_thousands_of_pages_on_the_days_that_they_are_active(tmp_path):
    summary = generate_logs(
        Settings(users=50, days=20, seed=1, bots=8, broken=0, doubled=0), tmp_path
    )
    users = Counter((day, json.loads(line)["user"]) for day, line in lines(tmp_path))
    busy = {place: n for place, n in users.items() if n > 1000}
    assert {user for _, user in busy} <= set(summary["bots"])
    assert summary["bots"] == [f"u00000{n}" for n in range(50, 58)]
    assert sum(busy.values()) == summary["bot_views"] > 0
    assert len({day for day, _ in busy}) == summary["days_with_bots"]


def test_titles_follow_a_zipf_law(month):
    counts = np.array(sorted(Counter(title for *_, title, _ in month[1]).values(), reverse=True))
    ranks = np.arange(1, len(counts) + 1)
    head = slice(9, 1000)
    slope = np.polyfit(np.log(ranks[head]), np.log(counts[head]), 1)[0]
    assert -1.4 < slope < -0.6
    assert 0.05 < len(counts) / len(month[1]) < 0.5  # many views share few titles


def test_evenings_are_busier_than_nights(month):
    hours = Counter(int(time[11:13]) for _, time, _, _ in month[1])
    assert sum(hours[h] for h in (19, 20, 21)) > 3 * sum(hours[h] for h in (2, 3, 4))


def test_few_users_have_many_views(month):
    views = np.array(list(Counter(user for user, *_ in month[1]).values()))
    per_user = len(month[1]) / 2000 / 28 * 181
    assert 100 <= per_user <= 130 * 1.1
    assert np.median(views) < 0.8 * views.mean()
    assert views.max() > 10 * views.mean()


def test_users_come_back_to_pages(month):
    pages = Counter((user, title) for user, _, title, _ in month[1])
    assert 0.1 < 1 - len(pages) / len(month[1]) < 0.5


def test_the_same_page_is_called_by_two_titles(month):
    titles = {title for *_, title, _ in month[1]}
    assert any(" - " in t and t.replace(" - ", " | ") in titles for t in titles)
    assert any(": Week " in t and t.replace(": Week ", " | Week ") in titles for t in titles)


def test_planted_titles_are_those_that_were_viewed(month):
    root, views = month
    planted = pq.read_table(root / "planted/titles.parquet").to_pydict()
    assert set(planted["title"]) == {title for *_, title, _ in views}
    assert len(set(planted["title"])) == len(planted["title"])


def test_planted_weights_sum_to_one_on_any_day(small):
    table = pq.read_table(small[0] / "planted/interests.parquet").to_pandas()
    for day in (date(2017, 1, 1), date(2017, 1, 4), date(2017, 1, 6)):
        live = table[(table.from_day <= day) & (day <= table.to_day)]
        per_user = live.groupby("user_id")
        assert per_user.weight.sum().to_numpy() == pytest.approx(np.ones(300), abs=1e-6)
        assert per_user.topic.count().between(3, 5).all()
        assert not live.duplicated(["user_id", "topic"]).any()


def test_users_view_what_they_are_interested_in(month):
    """7 % of the views are of the portal, 7 % of anything; the rest follows the interests."""
    root, views = month
    topic = dict(
        zip(*pq.read_table(root / "planted/titles.parquet").to_pydict().values(), strict=True)
    )
    interests = pq.read_table(root / "planted/interests.parquet").to_pylist()
    live = {}
    for row in interests:
        live.setdefault((row["user_id"], row["topic"]), []).append((row["from_day"], row["to_day"]))
    agreement = [
        any(a <= date.fromisoformat(time[:10]) <= b for a, b in live.get((user, topic[title]), []))
        for user, time, title, _ in views
    ]
    assert 0.8 < np.mean(agreement) < 0.95


def test_an_interest_drifts_away(tmp_path):
    generate_logs(Settings(users=20, days=90, seed=5, bots=0), tmp_path)
    table = pq.read_table(tmp_path / "planted/interests.parquet").to_pandas()
    lasting = table[table.to_day - table.from_day == timedelta(days=89)]
    drifting = table.drop(lasting.index)
    assert lasting.groupby("user_id").size().between(2, 4).all()
    assert set(drifting.user_id) == set(table.user_id)
    assert (drifting.weight == 0.25).all()


def test_the_shape_of_users_is_a_setting_and_stands_beside_the_truth(tmp_path):
    shape = {"drifting_share": 0.6, "sessions_a_day": 1.0}
    summary = generate_logs(Settings(users=40, days=20, seed=5, bots=0, **shape), tmp_path)
    usual = generate_logs(Settings(users=40, days=20, seed=5, bots=0), tmp_path / "usual")
    assert 4 < summary["views"] / usual["views"] < 10  # 1 session a day and not 0.155
    table = pq.read_table(tmp_path / "planted/interests.parquet").to_pandas()
    assert (table[~table.is_lasting].weight == 0.6).all()
    assert table[table.is_lasting].groupby("user_id").weight.sum().to_numpy() == pytest.approx(0.4)
    assert summary["settings"]["drifting_share"] == 0.6
    assert "drifting_share" not in usual["settings"]
    with pytest.raises(BadInput, match="of other settings"):
        generate_logs(Settings(users=40, days=20, seed=5, bots=0), tmp_path)
    with pytest.raises(BadInput, match=r"drifting_share is nan.*sessions_a_day is 0"):
        Settings(users=1, days=1, seed=0, drifting_share=float("nan"), sessions_a_day=0)


def test_parquet_holds_the_same_views(small, tmp_path):
    root, _ = small
    summary = generate_logs(Settings(**SMALL | {"format": "parquet"}), tmp_path)
    assert read_settings(tmp_path / "landing/settings.toml").format == "parquet"
    found = [
        row | {"time": row["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        for path in sorted((tmp_path / "landing").glob("*/*.parquet"))
        for row in pq.read_table(path).to_pylist()
        if row["user"] and row["time"] and row["title"].strip()
        and f"{row['time']:%Y-%m-%d}" <= path.parent.name
    ]  # fmt: skip
    whole = [json.loads(line) for day, line in lines(root) if sort_of(day, line) == "views"]
    as_rows = [Counter(tuple(row.values()) for row in some) for some in (found, whole)]
    assert as_rows[0] == as_rows[1]
    assert summary["broken_bad_json"] == 0
    assert (
        sum(pq.read_metadata(p).num_rows for p in tmp_path.glob("landing/*/*")) == summary["lines"]
    )


def test_quotes_and_accents_survive_json(month):
    titles = {title for *_, title, _ in month[1]}
    assert any('"' in title for title in titles)
    assert any("é" in title or "ü" in title or "ã" in title for title in titles)


def test_no_word_belongs_to_two_topics():
    every = Counter(word for some in words.TOPICS.values() for word in some)
    assert set(every.values()) == {1}
    assert 40 <= len(words.TOPICS) <= 60


def test_titles_speak_of_their_topic():
    topics = np.arange(len(words.TOPICS)).repeat(40)
    codes = title_codes(
        topics, topics * 0 + 17_000, np.tile(np.arange(40), len(words.TOPICS)), topics % 2
    )
    assert (topic_of(codes) == topics).all()
    for text, topic in zip(Catalogue(1).texts(codes).to_pylist(), topics, strict=True):
        assert any(word in text for word in words.TOPICS[TOPIC_NAMES[topic]]), text


def test_the_two_forms_of_a_title_differ_in_separators_alone():
    rank = np.arange(500)
    some = rank * 0 + 3
    one, other = (
        Catalogue(1).texts(title_codes(some, some, rank, rank * 0 + form)) for form in (0, 1)
    )
    plain = [text.replace(": ", " | ").replace(" - ", " | ") for text in one.to_pylist()]
    assert plain == [text.replace(" - ", " | ") for text in other.to_pylist()]
    assert one != other


def test_a_days_files_can_be_spoiled_in_two_ways(tmp_path):
    generate_logs(Settings(users=300, days=1, seed=7), tmp_path)
    day = tmp_path / "landing/2017-01-01"
    good = Counter(sort_of(*line) for line in lines(tmp_path))
    assert send_half_to_the_future(day, "time") == good.total()
    ahead = Counter(sort_of(*line) for line in lines(tmp_path))["broken_future_time"]
    assert 0.45 * good["views"] < ahead < 0.55 * good["views"] + 5
    assert rename_column(day, "user", "visitor") == good.total()
    assert not Counter(sort_of(*line) for line in lines(tmp_path))["views"]


def test_impressions_have_the_truth_behind_each_click(tmp_path):
    settings = Settings(users=400, days=40, seed=3)
    num = write_impressions(settings.world, settings.every_day, 0.5, tmp_path)
    truth = pq.read_table(tmp_path / "planted/impressions.parquet").to_pandas()
    logged = pq.read_table(tmp_path / "impressions/generated.parquet").to_pandas()
    assert len(truth) == len(logged) == num * TITLES_SHOWN
    assert truth[list(logged.columns)].equals(logged)
    for _, some in truth.groupby("is_lasting", dropna=False):
        error = (some.probability * (1 - some.probability)).sum() ** 0.5
        assert abs(some.clicked.sum() - some.probability.sum()) < 4 * error
    passing = truth[truth.is_lasting == False]  # noqa: E712
    assert set(passing.weight) == {0.25}
    assert truth[truth.is_lasting.isna()].weight.eq(0).all()


def test_impressions_follow_the_planted_interests_of_their_day(tmp_path):
    settings = Settings(users=100, days=30, seed=3)
    generate_logs(settings, tmp_path)
    write_impressions(settings.world, settings.every_day, 0.5, tmp_path)
    interests = pq.read_table(tmp_path / "planted/interests.parquet").to_pylist()
    shown = pq.read_table(tmp_path / "planted/impressions.parquet").to_pylist()
    for row in [row for row in shown if row["weight"]][:200]:
        day = row["event_time"].date()
        (own,) = [
            i for i in interests
            if (i["user_id"], i["topic"]) == (row["user_id"], row["topic"])
            and i["from_day"] <= day <= i["to_day"]
        ]  # fmt: skip
        assert own["weight"] == pytest.approx(row["weight"], rel=1e-6)
        assert own["is_lasting"] == row["is_lasting"]
