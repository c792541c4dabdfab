from datetime import date, datetime

import pytest
from pyspark.sql import functions as F
from small_features import NO_FORECASTS

from contracts.forecasts import FORECAST_NAMES
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    REJECTED_LOGS,
    TABLES,
    USER_EMBEDDINGS,
)
from expectations.suites import (
    contract_expectations,
    future_share,
    lines_lost,
    refused_share,
    suite_expectations,
)

DAY, NOON = date(2017, 6, 26), datetime(2017, 6, 25, 12)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_suite_says_all_that_its_contract_says(table):
    measures = [e.measure for e in contract_expectations(table)]
    assert measures[:2] == ["columns_that_differ", "duplicate_keys"]
    assert {f"nulls_in_{c.name}" for c in table.columns if not c.nullable} <= set(measures)
    assert {name for name, _ in table.checks} <= set(measures)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_measures_have_names_of_their_own_bounds_and_a_meaning(table):
    suite = suite_expectations(table, {"lines_in": 1})
    assert len({e.measure for e in suite}) == len(suite)
    assert all(e.says and (e.least is not None or e.most is not None) for e in suite)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_spark_can_take_every_measure_of_no_rows(table, spark):
    from expectations.measures import take_measures

    taken = take_measures(
        spark.createDataFrame([], table.ddl), table, suite_expectations(table, {})
    )
    assert taken["rows"] == taken["duplicate_keys"] == 0


def test_only_refusals_new_titles_and_new_history_may_be_none():
    may_be_empty = [
        t.name
        for t in TABLES
        if next(e for e in suite_expectations(t, {}) if e.measure == "rows").least == 0
    ]
    assert may_be_empty == ["browsing_logs", "rejected_logs", "titles", "published_history"]


def test_what_the_job_tells_is_judged_for_the_logs_alone():
    measures = {"lines_in": 200, "accepted": 120, "duplicates": 20, "refused": 60}
    measures["future_share"] = 0.1
    assert (refused_share(measures), future_share(measures), lines_lost(measures)) == (0.3, 0.1, 0)
    assert "lines_lost" in {e.measure for e in suite_expectations(BROWSING_LOGS, measures)}
    assert "lines_lost" not in {e.measure for e in suite_expectations(REJECTED_LOGS, measures)}


@pytest.mark.parametrize(
    ("accepted", "refused", "passes"),
    [
        (1, 1, True),  # a day of two lines
        (1, 4, True),  # five lines say nothing of a site
        (1, 5, False),  # broken lines outnumber the good ones
        (1, 10, False),
        (4, 5, False),
        (10, 10, True),
        (10, 11, False),  # too many to be chance
        (5, 4, True),
        (0, 1, False),  # wholly wrong, however small
        (0, 10, False),
        (40, 10, True),
        (43, 11, False),
        (44, 11, True),  # a fifth of many
        (0, 0, True),
    ],
)
@pytest.mark.parametrize("are_late", [False, True])
def test_few_refused_lines_stop_no_day_of_which_others_are_accepted(
    accepted, refused, passes, are_late
):
    num_lines = accepted + refused
    measures = {"lines_in": num_lines, "accepted": accepted, "refused": refused, "duplicates": 0}
    measures["future_share"] = refused / max(num_lines, 1) if are_late else 0.0
    suite = {e.measure: e for e in suite_expectations(BROWSING_LOGS, measures)}
    share = suite["refused_share"]
    assert (share.from_job(measures) <= share.most) is passes
    late = suite["future_share"]
    is_late_within = late.from_job(measures) <= late.most
    assert is_late_within is (not are_late or (passes and refused <= 10))


def test_a_tenth_of_unknown_words_is_the_most_that_a_day_of_vectors_may_have():
    suite = {e.measure: e for e in suite_expectations(USER_EMBEDDINGS, {"title_words": 5000})}
    unknown = suite["unknown_word_share"]
    assert unknown.most == 0.1
    assert unknown.from_job({"title_words": 5000, "unknown_words": 600}) == 0.12
    assert unknown.from_job({"title_words": 900, "unknown_words": 600}) == 0.0
    assert "unknown_word_share" not in {
        e.measure for e in suite_expectations(PUBLISHED_EMBEDDINGS, {})
    }
    assert "unknown_word_share" not in {e.measure for e in suite_expectations(USER_EMBEDDINGS, {})}


def test_few_vectors_for_many_sequences_of_titles_are_refused(spark):
    """Forty users of forty sequences, of whom ten have a vector of their own, or thirty."""
    from expectations.measures import take_measures

    suite = suite_expectations(USER_EMBEDDINGS, {"title_sequences": 40})
    taken = {}
    for num_vectors in (10, 30):
        vectors = [[float(user % num_vectors + 1)] * 256 for user in range(40)]
        rows = [
            ("m", DAY, str(user), vectors[user], 1.0, 1, NOON, user, *NO_FORECASTS)
            for user in range(40)
        ]
        frame = spark.createDataFrame(rows, USER_EMBEDDINGS.ddl)
        taken[num_vectors] = take_measures(frame, USER_EMBEDDINGS, suite)["vectors_a_sequence"]
    (wanted,) = [e for e in suite if e.measure == "vectors_a_sequence"]
    assert taken[10] < wanted.least <= taken[30]


@pytest.mark.parametrize(
    ("forecasts", "broken"),
    [
        ((0.5, 0.25, 12.0, 3.5, 4.0), set()),
        (NO_FORECASTS, set()),
        ((1.5, -0.1, -1.0, float("nan"), 29.0), {f"{name}_in_range" for name in FORECAST_NAMES}),
        ((0.5, 0.25, None, 3.5, 4.0), {"all_forecasts_or_none"}),
    ],
)
def test_forecasts_are_all_there_and_in_their_range_or_none_is(spark, forecasts, broken):
    from expectations.measures import take_measures

    row = ("m", DAY, "ann", [1.0] * 256, 16.0, 1, NOON, 1, *forecasts)
    suite = contract_expectations(USER_EMBEDDINGS)
    frame = spark.createDataFrame([row], USER_EMBEDDINGS.ddl)
    taken = take_measures(
        frame, USER_EMBEDDINGS, [*suite, *suite_expectations(USER_EMBEDDINGS, {})]
    )
    assert {e.measure for e in suite if taken.get(e.measure, 0) > 0} == broken


def test_forecasts_that_are_the_same_for_all_or_missing_for_some_are_refused(spark):
    from expectations.measures import take_measures

    suite = suite_expectations(PUBLISHED_EMBEDDINGS, {})
    taken = []
    for views in ([12.0] * 40, [float(n) for n in range(40)], [None] * 20 + [1.0] * 20):
        rows = [
            ("m", DAY, str(n), [1.0] * 256, 16.0, 1, NOON, n, *(value,) * len(FORECAST_NAMES))
            for n, value in enumerate(views)
        ]
        frame = spark.createDataFrame(rows, USER_EMBEDDINGS.ddl)
        frame = frame.withColumn("as_of_time", F.lit(NOON)).withColumn("space_id", F.lit("s"))
        frame = frame.withColumn("written_at", F.lit(NOON))
        taken.append(take_measures(frame, PUBLISHED_EMBEDDINGS, suite))
    assert [each["distinct_forecasts"] >= 2 for each in taken] == [False, True, False]
    assert [each["users_without_forecasts"] for each in taken] == [0, 0, 20]


def test_what_is_published_is_of_one_space():
    for table in (USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS):
        assert "model_ids" in {e.measure for e in suite_expectations(table, {})}
    assert "space_ids" in {e.measure for e in suite_expectations(PUBLISHED_EMBEDDINGS, {})}
