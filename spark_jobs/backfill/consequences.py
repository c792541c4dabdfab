"""What follows from writing past days: what a promotion would switch, and what was made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyspark.sql import functions as F

from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.tables import (
    EVALUATIONS,
    PUBLISHED_EMBEDDINGS,
    SESSIONS,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from contracts.vectors import CHAMPION_SERVICE, service_name
from spark_jobs.backfill.day import Day
from spark_jobs.lake.lake import Lake
from spark_jobs.tables.models import Model, champion_model, load_models
from spark_jobs.tables.usable_users import coverage_measures


@dataclass(frozen=True)
class PromotionSwitch:
    """What readers have now, and what they would have by a promotion after the run."""

    champion: str  # whose vectors are published now; empty: nobody's
    days_now: int
    rows_now: int
    days_then: int
    rows_then: int
    missing_days: list[date]  # published now, and without a vector of the model after the run too
    more_users: int  # in the window as of the newest day, whom the promotion would embed first
    space_now: str
    space_then: str


@dataclass(frozen=True)
class Dependent:
    """Something that was made of the days, by name, and what becomes of it."""

    kind: str
    names: list[str]
    what_happens: str


def switch_to(
    lake: Lake, model: Model, todo: Sequence[Day], vectors: Mapping[tuple[str, date], int]
) -> PromotionSwitch | None:
    """What a promotion of `model` would switch, once `todo` is written; None where it is served.

    `vectors` counts user_embeddings by (model_id, as_of).
    """
    champion = champion_model(load_models(lake))
    if champion and champion.model_id == model.model_id:
        return None
    counts = lake.read_or_empty(PUBLISHED_EMBEDDINGS).groupBy("as_of").count().collect()
    now = {row["as_of"]: row["count"] for row in counts}
    then = {day: rows for (model_id, day), rows in vectors.items() if model_id == model.model_id}
    then |= {day.as_of: day.vectors_to_write for day in todo if day.vectors_to_write}
    return PromotionSwitch(
        champion=champion.model_id if champion and now else "",
        days_now=len(now),
        rows_now=sum(now.values()),
        days_then=len(then),
        rows_then=sum(then.values()),
        missing_days=sorted(now.keys() - then.keys()),
        more_users=_more_users(lake, max(now.keys() | then.keys(), default=None)),
        space_now=champion.space_id if champion and now else "",
        space_then=model.space_id,
    )


def _more_users(lake: Lake, newest: date | None) -> int:
    """Users in the window who have no sequence as of the newest day."""
    if newest is None or not lake.exists(SESSIONS):
        return 0
    sequences = lake.read_or_empty(USER_SEQUENCES).where(F.col("as_of") == F.lit(newest))
    window_days = EmbeddingSettings.from_environment().window_days
    measured = coverage_measures(lake, newest, window_days, sequences)
    return int(measured["users_without_vector"])


def dependents_of(
    lake: Lake, places: Places, model: Model, days: Sequence[date]
) -> list[Dependent]:
    """All that names one of `days`; nothing where there is nothing to write."""
    if not days:
        return []
    champion = champion_model(load_models(lake))
    is_served = bool(champion and champion.model_id == model.model_id)
    found = [
        *(_published_dependents(lake, places, model, days) if is_served else ()),
        _copies(places, model.model_id, days, is_served),
        _evaluations(lake, model.model_id, days),
        _stability(places, model.model_id, days),
        _reports(places, days),
    ]
    return [each for each in found if each.names]


def _published_dependents(
    lake: Lake, places: Places, model: Model, days: Sequence[date]
) -> Iterator[Dependent]:
    """What readers have of the champion's days."""
    published = lake.read_or_empty(PUBLISHED_EMBEDDINGS).where(F.col("as_of").isin(list(days)))
    there = sorted(row["as_of"] for row in published.select("as_of").distinct().collect())
    yield Dependent(
        PUBLISHED_EMBEDDINGS.name,
        [str(day) for day in there],
        "keeps its rows until `userbert published-embeddings --as-of DAY` of each; what was known "
        "before stays in published_history",
    )
    if there and (places.feature_store / "feature_store.yaml").exists():
        names = (CHAMPION_SERVICE, service_name(model.model_id), service_name(model.space_id))
        yield Dependent(
            "Feast services",
            list(names),
            f"history changes from {there[0]} on, and users online whose newest vector is as of "
            "one of these days; `userbert features refresh --as-of DAY` follows. "
            f"{CHAMPION_SERVICE}_as_known changes for times after that alone",
        )


def _copies(places: Places, model_id: str, days: Sequence[date], is_served: bool) -> Dependent:
    """Copies of vectors for the search of neighbors, which name their table, model and day."""
    models = {model_id, "champion"} if is_served else {model_id}
    names = []
    for folder in _children(places.neighbors):
        table, _, of_model, as_of = (folder.name.split(",") + [""] * 4)[:4]
        is_ours = table in (USER_EMBEDDINGS.name, PUBLISHED_EMBEDDINGS.name) and of_model in models
        if is_ours and (as_of == "newest" or as_of >= str(min(days))):
            names.append(folder.name)
    return Dependent("copies for neighbors", names, "are made anew by the next question")


def _evaluations(lake: Lake, model_id: str, days: Sequence[date]) -> Dependent:
    rows = lake.read_or_empty(EVALUATIONS).where(
        (F.col("model_id") == model_id) & F.col("as_of").isin(list(days))
    )
    found = rows.select("evaluation_id").distinct().collect()
    return Dependent(
        "evaluations",
        sorted(row["evaluation_id"] for row in found),
        "cut at one of these days; they keep their figures: `userbert evaluate downstream` again",
    )


def _stability(places: Places, model_id: str, days: Sequence[date]) -> Dependent:
    """Figures on the model's card that were measured as of one of the days."""
    path = places.evaluations / "stability" / f"{model_id}.json"
    text = path.read_text() if path.exists() else ""
    names = [path.name] if any(f'"{day}"' in text for day in days) else []
    return Dependent(
        "stability figures", names, "keep what they are: `userbert models stability MODEL_ID` again"
    )


def _reports(places: Places, days: Sequence[date]) -> Dependent:
    """Pages of nights and backfills whose name has one of the days."""
    pages = [
        page
        for kind in ("night", "backfill")
        for page in _children(places.reports / kind)
        if page.suffix == ".html" and any(str(day) in page.stem for day in days)
    ]
    return Dependent(
        "reports",
        [f"{page.parent.name}/{page.name}" for page in pages],
        "say what was there when they were made",
    )


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
