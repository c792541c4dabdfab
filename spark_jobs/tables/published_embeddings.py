"""The champion's vectors, as the feature store and analysts read them: one space at any moment.

`models` says who the champion is, and this table follows it. A run for a day replaces that day's
rows. Where the table still holds another model's rows (a promotion was killed before it got
here), the run replaces the whole table in one commit instead, so any run mends it. The rows of
two runs that work at the same time, or of one and a promotion, never mix: see
`Lake.replace_alone`. Each row says since when it is known (`written_at`), and stays in
published_history when another one takes its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.errors import MissingTable
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import (
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    USER_EMBEDDINGS,
    WRITTEN_AT,
)
from contracts.terminal.options import AsOf
from expectations.days.bounds import PUBLICATION_MEASURES
from expectations.gate import Passed, run_gate
from expectations.run_history import usual_expectations
from spark_jobs.lake.lake import ALL_ROWS, Commit, Lake
from spark_jobs.spark.job_run import spark_job
from spark_jobs.spark.session import damaged_files_left_out
from spark_jobs.tables.forgotten_users import must_not_be_overdue
from spark_jobs.tables.models import (
    Model,
    find_model,
    load_champion,
    load_models,
    settings_of_models,
)
from spark_jobs.tables.published_history import (
    Publication,
    catch_up,
    publication_time,
    record_publication,
    with_written_at,
)
from spark_jobs.tables.usable_users import coverage_measures, is_stale, newest_views
from spark_jobs.tables.vector_moves import comparable_day, move_measures

_MAX_LEAVING = 1_000  # users who leave by one condition; for more all rows are written anew
_UNWRITTEN = [name for name in PUBLISHED_EMBEDDINGS.names if name != WRITTEN_AT]


@dataclass(frozen=True)
class PublishedNow:
    """What readers have: the models and the days of the published rows."""

    models: frozenset[str]
    days: frozenset[date]


def published_now(lake: Lake) -> PublishedNow:
    """Data files that are gone or damaged are left out: publishing their day is what mends them."""
    with damaged_files_left_out(lake.spark):
        published = lake.read_or_empty(PUBLISHED_EMBEDDINGS)
        rows = published.select("model_id", "as_of").distinct().collect()
    models, days = (frozenset(row[n] for row in rows) for n in range(2))
    return PublishedNow(models, days)


def published_rows(embeddings: DataFrame, model: Model) -> DataFrame:
    """`user_embeddings`' rows of one model, as published_embeddings has them but for written_at."""
    timed = _rows_of(embeddings, model.model_id).withColumn(
        "as_of_time", F.col("as_of").cast("timestamp")
    )
    return timed.withColumn("space_id", F.lit(model.space_id)).select(_UNWRITTEN)


def _rows_of(embeddings: DataFrame, model_id: str) -> DataFrame:
    return embeddings.where(F.col("model_id") == model_id)


def _rows_to_publish(lake: Lake, model: Model) -> DataFrame:
    """Of all days, with the model's space."""
    return published_rows(lake.read(USER_EMBEDDINGS), model)


def newest_vectors(published_embeddings: DataFrame) -> DataFrame:
    """Each user's newest vector under the champion: the view `user_embeddings_latest`.

    (as_of, user_id) is the table's key, so there are no ties.
    """
    newest_first = Window.partitionBy("user_id").orderBy(F.desc("as_of"))
    ranked = published_embeddings.withColumn("age", F.row_number().over(newest_first))
    return ranked.where("age = 1").drop("age")


def vectors_known_at(published_embeddings: DataFrame, day: date) -> DataFrame:
    """Each user's newest vector that was known at the first instant of `day` (UTC)."""
    return newest_vectors(published_embeddings.where(F.col("as_of") <= F.lit(day)))


def _missing_days(lake: Lake, model_id: str) -> list[date]:
    """The days that readers have now and that `model_id` has no vectors of, oldest first."""
    have = _days(_rows_of(lake.read_or_empty(USER_EMBEDDINGS), model_id))
    return sorted(_days(lake.read_or_empty(PUBLISHED_EMBEDDINGS)) - have)


def _days(embeddings: DataFrame) -> set[date]:
    return {row["as_of"] for row in embeddings.select("as_of").distinct().collect()}


def check_no_day_is_lost(lake: Lake, model_id: str) -> None:
    """Readers must lose no day by a change of model."""
    if missing := _missing_days(lake, model_id):
        days = ", ".join(map(str, missing))
        fill = f"`userbert backfill run --published --model {model_id}`"
        raise MissingTable(
            f"{model_id} has no vectors of {len(missing)} days that are published now: {days}; "
            f"readers stay where they are. Make them by {fill}, and run this again; with "
            "--allow-missing-days readers lose these days"
        )


def _all_days(
    lake: Lake, places: Places, model_id: str, now: datetime, all_days_needed: bool = True
) -> Passed:
    """The rows of all days of `model_id`, past the gate."""
    if all_days_needed:
        check_no_day_is_lost(lake, model_id)
    rows = _rows_to_publish(lake, find_model(load_models(lake), model_id))
    newest = rows.selectExpr("max(as_of)").collect()[0][0]
    settings = EmbeddingSettings.from_environment()
    if newest and settings.do_stale_users_leave:
        stale = newest_views(rows).where(is_stale(newest, settings.window_days))
        rows = rows.join(stale, "user_id", "left_anti").select(_UNWRITTEN)
    timed = with_written_at(rows, _history(lake, model_id, ALL_ROWS), now)
    measures = _measures(lake, newest, rows) if all_days_needed and newest else {}
    run = f"all days under {model_id}"
    return run_gate(timed, PUBLISHED_EMBEDDINGS, places=places, run=run, measures=measures)


def _measures(lake: Lake, newest: date, *rows: DataFrame) -> dict[str, float]:
    """Who has a vector, and who is stale, once `rows` are what is published."""
    settings = EmbeddingSettings.from_environment()
    found = coverage_measures(lake, newest, settings.window_days, *rows)
    if found and settings.do_stale_users_leave:
        found["stale_users_kept"] = found["stale_users"]
    return found


def _leaving_users(lake: Lake, model: Model, day: date) -> list[str]:
    """Whose newest view lies before the window, once `day` is published: nobody, if the setting is
    that such users stay."""
    settings = EmbeddingSettings.from_environment()
    if not settings.do_stale_users_leave:
        return []
    published = lake.read_or_empty(PUBLISHED_EMBEDDINGS).where(F.col("as_of") != F.lit(day))
    newest = published.selectExpr("max(as_of)").collect()[0][0]
    views = newest_views(published, _rows_to_publish(lake, model).where(_of_day(day)))
    stale = views.where(is_stale(max(day, newest or day), settings.window_days))
    return [row["user_id"] for row in stale.limit(_MAX_LEAVING + 1).collect()]


def _history(lake: Lake, model_id: str, where: str) -> DataFrame:
    held = lake.read_or_empty(PUBLISHED_HISTORY)
    return held.where(F.col("model_id") == model_id).where(where)


def one_day(
    lake: Lake,
    places: Places,
    model: Model,
    published: PublishedNow,
    day: date,
    now: datetime,
    leaving: Sequence[str] = (),
) -> Passed:
    """The rows of one day, past the gate; without those of `leaving` users."""
    rows, model_id = _rows_to_publish(lake, model).where(_of_day(day)), model.model_id
    if rows.isEmpty():
        raise MissingTable(
            f"{model_id} has no vectors as of {day} in {lake.path(USER_EMBEDDINGS)}: run "
            f"`userbert user-embeddings --as-of {day} --model {model_id}` first"
        )
    rows = rows.where(~_of_users(leaving))
    if leaving and rows.isEmpty():
        raise MissingTable(
            f"nobody of {day} has a view in the window of the newest day, and stale_users is "
            '"leave": there is nothing to publish as of that day'
        )
    timed = with_written_at(rows, _history(lake, model_id, _of_day(day)), now)
    measures = {}
    if day >= max(published.days, default=day):  # with an earlier day readers see no less
        measures = _coverage(lake, day, rows, leaving)
    last = comparable_day(published.days, day)
    measures |= move_measures(lake.read_or_empty(PUBLISHED_EMBEDDINGS), last, rows)
    known = [bound for bound in PUBLICATION_MEASURES if bound.name in measures]
    num_users = measures.get("moved_users", measures.get("usable_users", 1.0))
    usual = usual_expectations(places, PUBLISHED_EMBEDDINGS, day, known, num_rows=num_users)
    return run_gate(
        timed,
        PUBLISHED_EMBEDDINGS,
        places=places,
        run=str(day),
        measures=measures,
        of_the_run=usual,
    )


def _coverage(lake: Lake, day: date, rows: DataFrame, leaving: Sequence[str]) -> dict[str, float]:
    """Who has a vector once `rows` are published, as of the newest day."""
    published = lake.read_or_empty(PUBLISHED_EMBEDDINGS)
    earlier = published.where(F.col("as_of") < F.lit(day)).where(~_of_users(leaving))
    return _measures(lake, day, earlier, rows)


def _of_day(day: date) -> str:
    return f"as_of = '{day}'"


def _of_users(users: Sequence[str]) -> Column:
    return F.col("user_id").isin(list(users))


def _replaced_rows(day: date, leaving: Sequence[str]) -> str:
    """SQL: the rows of a day, and all rows of the users who leave."""
    if not leaving:
        return _of_day(day)
    users = ", ".join(_sql_text(user) for user in leaving)
    return f"{_of_day(day)} or user_id in ({users})"


def _sql_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def published_models(lake: Lake) -> set[str]:
    """The models whose rows are published: one, or none before the first."""
    return {*published_now(lake).models}


def has_vectors(lake: Lake, model_id: str) -> bool:
    return not _rows_of(lake.read_or_empty(USER_EMBEDDINGS), model_id).isEmpty()


def publish_day(lake: Lake, places: Places, day: date, now: datetime | None = None) -> Commit:
    """Replace the rows of `day` by the champion's; all rows where others' are still published.

    `now` is the time of the commit, for a history that is played.
    """

    def attempt(written_at: datetime) -> tuple[Passed, Publication]:
        champion, published = load_champion(lake), published_now(lake)
        model_id = champion.model_id
        must_not_be_overdue(places, model_id, lambda: settings_of_models(load_models(lake)))
        leaving = _leaving_users(lake, champion, day)
        if published.models <= {model_id} and len(leaving) <= _MAX_LEAVING:
            passed = one_day(lake, places, champion, published, day, written_at, leaving)
            where, first_day = _replaced_rows(day, leaving), None if leaving else day
            return passed, Publication(model_id, where, first_day, written_at)
        passed = _all_days(lake, places, model_id, written_at)
        return passed, Publication(model_id, ALL_ROWS, None, written_at)

    return _publish(lake, places, attempt, now)


def _publish(
    lake: Lake,
    places: Places,
    attempt: Callable[[datetime], tuple[Passed, Publication]],
    now: datetime | None = None,
) -> Commit:
    """Replace what `attempt` says by its rows, in one commit for readers, and record what it was.

    Killed in between, the next publication records it.
    """
    lake.create(PUBLISHED_EMBEDDINGS)
    catch_up(lake, places)
    gated: list[Passed] = []
    made: list[Publication] = []

    def write() -> tuple[Passed, str, dict[str, object]]:
        passed, checked = attempt(publication_time(lake, now))
        gated.append(passed)
        made.append(replace(checked, written_at=publication_time(lake, now)))
        provenance: dict[str, object] = {WRITTEN_AT: made[-1].written_at.isoformat()}
        return _stamped(passed, checked, made[-1]), made[-1].where, provenance

    try:
        commit = lake.replace_alone(PUBLISHED_EMBEDDINGS, write)
    finally:
        for passed in gated:
            passed.release()
    record_publication(lake, places, commit, made[-1])
    return commit


def _stamped(passed: Passed, checked: Publication, made: Publication) -> Passed:
    """The rows that are new with the time of their commit, for a gate may take minutes."""
    is_new = F.col(WRITTEN_AT) == F.lit(checked.written_at)
    written_at = F.when(is_new, F.lit(made.written_at)).otherwise(F.col(WRITTEN_AT))
    return replace(passed, frame=passed.frame.withColumn(WRITTEN_AT, written_at))


@dataclass(frozen=True)
class NewRows:
    """All rows of a model that is about to be published. They have passed their gate."""

    publication: Publication
    passed: Passed
    seen_version: int  # of published_embeddings, from before the rows were read
    all_days_needed: bool


def prepare_all_days(
    lake: Lake, places: Places, model_id: str, all_days_needed: bool = True
) -> NewRows:
    """The rows of all days, ready to replace the table's; nothing of it is changed yet.

    With `all_days_needed`, `MissingTable` where readers would lose a day.
    """
    lake.create(PUBLISHED_EMBEDDINGS)
    catch_up(lake, places)
    seen_version, now = lake.version(PUBLISHED_EMBEDDINGS), publication_time(lake)
    passed = _all_days(lake, places, model_id, now, all_days_needed)
    publication = Publication(model_id, ALL_ROWS, None, now)
    return NewRows(publication, passed, seen_version, all_days_needed)


def replace_all_days(lake: Lake, places: Places, new: NewRows) -> Commit:
    """Replace the whole table by the prepared rows, in one commit for readers.

    Where another job has published meanwhile, the rows are computed and checked again.
    """

    def attempt(written_at: datetime) -> tuple[Passed, Publication]:
        if lake.version(PUBLISHED_EMBEDDINGS) == new.seen_version:
            return new.passed, new.publication
        new.passed.release()
        again = replace(new.publication, written_at=written_at)
        return _all_days(lake, places, again.model_id, written_at, new.all_days_needed), again

    return _publish(lake, places, attempt)


def main(as_of: AsOf) -> None:
    places = Places.from_environment()
    with spark_job("published_embeddings") as (spark, tell):
        tell(publish_day(Lake(spark, places.lake), places, as_of))
