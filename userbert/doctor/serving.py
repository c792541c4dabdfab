"""What runs and what is served: Airflow, locks, models, the feature store."""

from collections.abc import Iterator
from typing import Any

from contracts.errors import UserbertError
from contracts.paths import Places
from contracts.settings.embedding import EmbeddingSettings
from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from contracts.storage.model_folder import check_model_folder, find_model_folder
from contracts.tables import MODELS
from spark_jobs.backfill.day_locks import DayLocks, locked_days
from spark_jobs.tables.forgotten_users import seen_by_models, why_overdue
from userbert.doctor.finding import FAULT, FINE, NOTE, Finding
from userbert.local.airflow_home import running_airflow_port


def registered_models(places: Places) -> list[dict[str, Any]]:
    """The rows of `models`; none where the table is damaged, which its own check says."""
    path = f"{places.lake}/{MODELS.name}"
    try:
        opened = open_delta_table(path)
        rows: list[dict[str, Any]] = (
            arrow_dataset(opened, path).to_table().to_pylist() if opened else []
        )
    except (UserbertError, OSError, ValueError):
        return []
    return rows


def check_serving(places: Places, models: list[dict[str, Any]]) -> Iterator[Finding]:
    yield _check_airflow(places)
    yield _check_locks(places)
    yield from _check_models(places, models)
    yield _check_feature_store(places)


def _check_airflow(places: Places) -> Finding:
    is_running, port = running_airflow_port(places)
    if not is_running:
        return Finding("airflow", FINE, "not running on this root (userbert airflow starts it)")
    where = f"http://localhost:{port}" if port else "it is starting, or a task outlived it"
    return Finding("airflow", FINE, f"running: {where}")


def _check_locks(places: Places) -> Finding:
    """The system releases the lock of a process that has ended, so a lock is never stale."""
    days = locked_days(DayLocks(places.root / "backfill"))
    if days:
        named = ", ".join(map(str, days[:5]))
        return Finding("locks", NOTE, f"a backfill writes now: {named}")
    return Finding("locks", FINE, "no backfill is at work")


def _check_models(places: Places, models: list[dict[str, Any]]) -> Iterator[Finding]:
    champions = [row for row in models if row["status"] == "champion"]
    if not champions:
        to_do = "userbert models promote MODEL_ID" if models else "userbert run"
        says = f"no champion among {len(models)} models"
        yield Finding("champion", NOTE, says, to_do)
    for row in champions:
        yield from _check_forgotten(places, row["model_id"], models)
        folder = find_model_folder(places.models, row["model_id"], row["path"])
        try:
            check_model_folder(folder)
        except UserbertError as error:
            yield Finding(
                "champion", FAULT, str(error), "copy its folder again, or userbert models rollback"
            )
            continue
        since = f"{row['status_changed_at']:%Y-%m-%d %H:%M} UTC"
        says = f"{row['model_id']} since {since}, of {len(models)} models"
        yield Finding("champion", FINE, says)


def _check_forgotten(
    places: Places, model_id: str, models: list[dict[str, Any]]
) -> Iterator[Finding]:
    """Users who were forgotten are still in the champion's weights: a note, then a fault."""
    settings = {row["model_id"]: row["settings"] for row in models}
    seen = seen_by_models(places, settings).get(model_id)
    if seen is None:
        return
    retrain = (
        "userbert pretrain --as-of DAY, then userbert models judge MODEL_ID --register --promote"
    )
    try:
        limit = EmbeddingSettings.from_environment().retrain_within_days
    except UserbertError as error:
        yield Finding("champion", FAULT, str(error), "correct the file")
        return
    if reason := why_overdue(seen, limit):
        yield Finding("champion", FAULT, f"{model_id} {reason}", retrain)
        return
    within = f" (retrain_within_days is {limit})" if limit else ""
    says = f"{model_id} was trained on users who were forgotten: {seen}{within}"
    yield Finding("champion", NOTE, says, retrain)


def _check_feature_store(places: Places) -> Finding:
    if not (places.feature_store / "registry.db").exists():
        refresh = "userbert features refresh --as-of DAY, after the first night"
        return Finding("feature store", NOTE, "not made yet", refresh)
    return Finding("feature store", FINE, f"{places.feature_store}")
