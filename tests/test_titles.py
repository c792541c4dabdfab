from datetime import date, datetime

import pytest
from pyspark.sql import functions as F

from contracts.errors import MissingTable
from contracts.tables import BROWSING_LOGS, TITLES
from expectations.gate import Passed
from spark_jobs.tables.titles import (
    count_unsegmented,
    main,
    new_titles,
    update_titles,
    with_words,
)
from spark_jobs.transforms.title_text import normalized_title, title_id

DAY = date(2017, 1, 1)


@pytest.fixture
def views(spark):
    def make(*titles, day=DAY):
        """A view of each title, all of `day`."""
        rows = [
            (day, n, "u", datetime(day.year, day.month, day.day), 0, title, None, day)
            for n, title in enumerate(titles)
        ]
        frame = spark.createDataFrame(rows, BROWSING_LOGS.ddl)
        return frame.withColumn("title_id", title_id(normalized_title(F.col("title"))))

    return make


@pytest.mark.parametrize(
    ("title", "same"),
    [
        ("  Hello \t WORLD\n", "hello world"),
        ("a\u00a0\u2003\u3000\u2028b", "a b"),
        ("a\x00\x07\x1c\x85b", "a b"),
        ("\u0130x ÉTÉ", "i\u0307x été"),
        ("a\u200bb", "a\u200bb"),  # what is no white space is kept: two titles
        ("Q&amp;A", "q&amp;a"),
        ("CAFE\u0301", "cafe\u0301"),
        ("\u00a0 \t", ""),
    ],
)
def test_titles_that_differ_in_case_and_white_space_are_one(spark, title, same):
    frame = spark.createDataFrame([(title,)], "title string")
    assert frame.select(normalized_title(F.col("title"))).first()[0] == same


def test_each_new_title_is_found_once(spark, views):
    known = spark.createDataFrame([("old",)], "title string")
    known = known.withColumn("title_id", title_id(F.col("title")))
    found = new_titles(views("A  b", "a B", "OLD", "c"), known).orderBy("title").collect()
    assert [row["title"] for row in found] == ["a b", "c"]


def test_titles_are_made_distinct_before_they_are_normalized(lake, views):
    """Spark drops a `distinct` below a least value, where nothing stands between them: on the
    first run the join with the titles that are known goes first, since there are none."""
    lake.create(TITLES)
    found = new_titles(views("A", "a"), lake.read(TITLES))
    plan = found._jdf.queryExecution().optimizedPlan().toString()
    distinct, regular = plan.rfind("Aggregate [title_id#"), plan.find("regexp_replace")
    assert -1 < regular < distinct  # a plan is read from below


def test_words_are_the_first_thirty_tokens(spark):
    long = " ".join(f"w{n}" for n in range(40))
    titles = spark.createDataFrame([(1, long), (2, "it's new")], "title_id bigint, title string")
    words = {row["title_id"]: row["words"] for row in with_words(titles).collect()}
    assert words == {1: [f"w{n}" for n in range(30)], 2: ["it", "'s", "new"]}


def test_titles_without_blanks_are_counted_unless_a_segmenter_cuts_them(spark):
    rows = [(1, "我来到北京清华大学"), (2, "новости дня"), (3, "북한 소식")]
    titles = spark.createDataFrame(rows, "title_id bigint, title string")
    assert count_unsegmented(with_words(titles)) == 1
    assert count_unsegmented(with_words(titles, "jieba")) == 0


def test_a_run_adds_what_is_new_and_remembers_how_far_it_got(lake, places, views):
    with pytest.raises(MissingTable, match="userbert browsing-logs"):
        update_titles(lake, places)
    land(lake, views("a", "b"), DAY)
    assert update_titles(lake, places).rows == 2
    assert update_titles(lake, places) is None
    next_day = date(2017, 1, 2)
    land(lake, views("B", "c", day=next_day), next_day)
    assert update_titles(lake, places).rows == 1
    assert lake.watermark(TITLES, BROWSING_LOGS) == lake.version(BROWSING_LOGS)
    land(lake, views("A", day=next_day), next_day)
    assert update_titles(lake, places).rows == 0
    assert update_titles(lake, places) is None  # it remembers a look that found nothing, too
    assert [r["title"] for r in lake.read(TITLES).orderBy("title").collect()] == ["a", "b", "c"]


def test_a_chinese_title_without_a_segmenter_is_a_warning(lake, places, views, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    land(lake, views("我来到北京清华大学", *(f"title {n}" for n in range(9))), DAY)
    main()
    printed = capsys.readouterr()
    assert "unsegmented titles: 1" in printed.out
    assert printed.err.endswith(
        "one word each: let landing/settings.toml say a tokenizer (docs/landing-files.md)\n"
    )
    land(lake, views(*(f"title {n}" for n in range(9, 30)), day=date(2017, 1, 2)), date(2017, 1, 2))
    main()
    assert "warning" not in capsys.readouterr().err


def land(lake, frame, day):
    lake.replace(Passed(frame, BROWSING_LOGS, {}), f"landing_day = '{day}'")
