import json
from datetime import UTC, date, datetime, timedelta

import pytest
from small_features import NO_FORECASTS

from contracts.errors import GateFailed
from contracts.tables import BROWSING_LOGS, USER_EMBEDDINGS, USER_SEQUENCES
from contracts.terminal.error_codes import code_of
from expectations.gate import SchemaError, UnusualDay, run_gate
from expectations.results import load_result, result_path
from expectations.suites import Expected
from userbert.cli import main

AS_OF = date(2017, 6, 30)
MIDNIGHT = datetime(2017, 6, 30, tzinfo=UTC)


@pytest.fixture
def sequences(spark):
    def make(*users, hour=-1, num_views=1):
        """One view a user, `hour` hours after as_of begins."""
        time = MIDNIGHT + timedelta(hours=hour)
        rows = [(AS_OF, user, [7], [time], num_views, time, 7) for user in users]
        return spark.createDataFrame(rows, USER_SEQUENCES.ddl)

    return make


@pytest.fixture
def view(spark):
    row = (date(2017, 6, 29), 1, "ann", MIDNIGHT - timedelta(hours=1), 7, "A title", None, AS_OF)
    return spark.createDataFrame([row], BROWSING_LOGS.ddl)


@pytest.fixture
def embeddings(spark):
    def make(vectors):
        rows = [
            (
                "m1",
                AS_OF,
                f"user {i}",
                vector,
                1.0,
                1,
                MIDNIGHT - timedelta(hours=1),
                i,
                *NO_FORECASTS,
            )
            for i, vector in enumerate(vectors)
        ]
        return spark.createDataFrame(rows, USER_EMBEDDINGS.ddl)

    return make


def unit(place):
    return [1.0 if i == place else 0.0 for i in range(256)]


def result_of(places, table, run="2017-06-30"):
    return load_result(result_path(places.gates, table.name, run))


def gate(frame, places, table=USER_SEQUENCES, **options):
    return run_gate(frame, table, places=places, run="2017-06-30", **options)


def test_a_good_frame_passes_and_its_rows_are_counted(sequences, places):
    passed = gate(sequences("ann", "bob"), places)
    assert passed.measures == {"rows": 2}
    assert passed.frame.is_cached
    passed.release()


def test_a_pass_leaves_a_result_and_a_page_that_the_index_leads_to(sequences, places):
    gate(sequences("ann"), places).release()
    result = result_of(places, USER_SEQUENCES)
    assert (result.passed, result.line, result.rows, result.failed) == (True, "", 1, [])
    page = places.gates / "docs" / "user_sequences" / "2017-06-30.html"
    assert "nothing_from_the_day_itself" in page.read_text()
    assert "user_sequences/2017-06-30.html" in (places.gates / "docs" / "index.html").read_text()


def test_a_failure_is_one_line_that_names_the_rule_a_row_and_the_page(sequences, places):
    frame = sequences("ann").union(sequences("bob", hour=3))
    with pytest.raises(GateFailed) as failure:
        gate(frame, places)
    page = places.gates / "docs" / "user_sequences" / "2017-06-30.html"
    assert str(failure.value).splitlines()[0] == (
        "gate user_sequences of 2017-06-30 failed: 1 of 2 rows break nothing_from_the_day_itself "
        "(last_view_time < cast(as_of as timestamp)), e.g. as_of=2017-06-30, user_id=bob, "
        f"last_view_time=2017-06-30 03:00:00; nothing was written; details: {page}"
    )
    assert "user_id=bob" in page.read_text()
    assert "http" not in page.read_text()
    assert not result_of(places, USER_SEQUENCES).passed


def test_all_that_is_broken_is_said_at_once(sequences, places):
    with pytest.raises(GateFailed) as failure:
        gate(sequences("ann", "ann", hour=3), places)
    assert "duplicate_keys (no two rows share (as_of, user_id))" in str(failure.value)
    assert "nothing_from_the_day_itself" in str(failure.value)


def test_a_row_that_a_check_cannot_be_computed_of_is_named_not_thrown(sequences, places):
    with pytest.raises(GateFailed, match="1 of 1 rows break views_are_counted") as failure:
        gate(sequences("ann", num_views=5), places)
    assert "last_is_last" in str(failure.value)


def test_no_rows_at_all_is_a_failure(sequences, places):
    with pytest.raises(GateFailed, match="rows is 0, at least 1 is allowed"):
        gate(sequences(), places)


def test_a_null_in_a_column_that_has_none_is_named(spark, places):
    nullable = USER_SEQUENCES.ddl.replace(" NOT NULL", "")
    row = (AS_OF, "ann", [7], [MIDNIGHT - timedelta(hours=1)], 1, None, 7)
    with pytest.raises(GateFailed, match="1 of 1 rows break nulls_in_last_view_time"):
        gate(spark.createDataFrame([row], nullable), places)


def test_a_wrong_column_is_named_with_both_types_and_leaves_its_result(sequences, places):
    wrong = sequences("ann").selectExpr("* except (num_views)", "'1' as num_views")
    with pytest.raises(SchemaError, match="num_views: declared int, found string"):
        gate(wrong, places)
    result = result_of(places, USER_SEQUENCES)
    assert [found.expectation for found in result.failed] == ["columns_that_differ"]


def test_refused_lines_are_named_with_their_reasons_first(view, places):
    measures = {"lines_in": 1000, "accepted": 500, "duplicates": 0, "refused": 500}
    measures["future_share"] = 0.0
    measures |= {"refused: missing column user_id": 490, "refused: not JSON": 10}
    with pytest.raises(GateFailed) as failure:
        gate(view, places, BROWSING_LOGS, measures=measures)
    assert str(failure.value).startswith(
        "gate browsing_logs of 2017-06-30 failed: refused_share is 0.5, at most 0.2 is allowed "
        "(at most a fifth of the lines are refused, or at most 10 lines and no more than are "
        "accepted, or at most 4 lines beside an accepted one), "
        "490 refused: missing column user_id, 10 refused: not JSON; nothing was written"
    )


def test_a_lost_line_fails(view, places):
    measures = {"lines_in": 9, "accepted": 7, "duplicates": 1, "refused": 0, "future_share": 0}
    with pytest.raises(GateFailed, match="lines_lost is 1, at most 0"):
        gate(view, places, BROWSING_LOGS, measures=measures)


def test_an_unusual_day_whose_rows_are_right_is_an_error_of_its_own_kind(view, places):
    measures = {"lines_in": 1, "accepted": 1, "duplicates": 0, "refused": 0, "future_share": 0}
    day = [Expected("views", "views are as usual", least=9, from_job=lambda _: 1)]
    with pytest.raises(UnusualDay, match="views is 1, at least 9") as failure:
        gate(view, places, BROWSING_LOGS, measures=measures, of_the_run=day)
    assert code_of(failure.value) == "UB-402"
    with pytest.raises(GateFailed) as failure:
        gate(view, places, BROWSING_LOGS, measures=measures | {"accepted": 0}, of_the_run=day)
    assert code_of(failure.value) == "UB-401"


def test_a_count_that_the_job_forgot_to_tell_fails(view, places):
    with pytest.raises(GateFailed, match="lines_lost is not measured"):
        gate(view, places, BROWSING_LOGS, measures={"lines_in": 9, "accepted": 9, "refused": 0})


def test_one_vector_for_all_users_is_a_collapse(embeddings, places):
    gate(embeddings([unit(i) for i in range(30)]), places, USER_EMBEDDINGS).release()
    with pytest.raises(GateFailed, match="the vectors do not all point the same way"):
        gate(embeddings([unit(0)] * 30), places, USER_EMBEDDINGS)


def test_a_vector_with_a_nan_is_named(embeddings, places):
    broken = [float("nan"), *unit(0)[1:]]
    with pytest.raises(GateFailed, match=r"rows break norm_is_the_vectors.*user_id=user 0"):
        gate(embeddings([broken, unit(1)]), places, USER_EMBEDDINGS)


def test_a_rerun_replaces_its_result_and_a_run_name_makes_no_folder(sequences, places):
    for _ in range(2):
        frame = sequences("ann")
        run_gate(frame, USER_SEQUENCES, places=places, run="backfill/m1/2017-06-30").release()
    files = list((places.gates / "results").rglob("*"))
    assert [f.name for f in files if f.is_file()] == ["backfill_m1_2017-06-30.json"]
    assert json.loads(files[-1].read_text())["run"] == "backfill/m1/2017-06-30"


def test_the_report_fails_when_a_newest_result_did(sequences, places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    gate(sequences("ann"), places).release()
    assert main(["gates", "list"]) == 0
    assert "user_sequences" in capsys.readouterr().out
    with pytest.raises(GateFailed):
        gate(sequences("ann", hour=3), places)
    assert main(["gates", "list"]) == 3
    assert "gate user_sequences of 2017-06-30 failed: 1 of 1 rows" in capsys.readouterr().err
