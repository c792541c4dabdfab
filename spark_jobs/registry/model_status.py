"""Every model's standing, and the changes of it: what the table `models` holds, as plain values.

    candidate --> champion --> retired          a promotion retires the champion before it
        \\-------> refused    \\<---- rolled back to

At most one is the champion. Each change gives a reason, and the time it was made.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, date, datetime

from pyspark.sql import DataFrame

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.tables import MODELS
from expectations.gate import Passed, check
from spark_jobs.lake.lake import Commit, Lake
from spark_jobs.tables.published_embeddings import EVERYTHING

REPLACED = "replaced by "  # the reason by which a rollback finds the champion before


@dataclass(frozen=True)
class Model:
    """A row of `models`; times are aware, UTC."""

    model_id: str
    created_at: datetime
    status: str
    status_changed_at: datetime
    status_reason: str
    path: str
    trained_before: date
    settings: str
    inputs: str
    measures: str
    vocabulary_hash: str
    code_version: str

    def now(self, status: str, reason: str) -> "Model":
        changed_at = datetime.now(UTC)
        return replace(self, status=status, status_reason=reason, status_changed_at=changed_at)


Standing = Mapping[str, Model]  # by model_id
assert [field.name for field in fields(Model)] == MODELS.names


def standing(lake: Lake) -> dict[str, Model]:
    """All models, the oldest first; model_id breaks ties."""
    rows = lake.read_or_empty(MODELS).orderBy("created_at", "model_id").collect()
    return {model.model_id: model for model in (_model(row.asDict()) for row in rows)}


def _model(told: dict[str, object]) -> Model:
    """Spark gives times in this machine's own zone, without saying so."""
    aware = {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in told.items()}
    return Model(**aware)  # type: ignore[arg-type]


def as_frame(lake: Lake, models: Standing) -> DataFrame:
    return lake.spark.createDataFrame([astuple(m) for m in models.values()], MODELS.ddl)


def change(
    lake: Lake, places: Places, run: str, changed: Callable[[Standing], Standing]
) -> Commit | None:
    """Write `changed` of all models in one commit, if it changes any.

    The whole table passes the gate and is replaced: one row is judged by the others.
    """
    if changed(before := standing(lake)) == before:
        return None

    def attempt() -> tuple[Passed, str]:
        frame = as_frame(lake, changed(standing(lake)))
        return check(frame, MODELS, places=places, run=run), EVERYTHING

    return lake.replace_alone(MODELS, attempt)


def find(models: Standing, model_id: str) -> Model:
    if model_id not in models:
        known = ", ".join(models) or "none"
        raise MissingTable(
            f"{model_id} is not registered (known: {known}): `userbert models register {model_id}` "
            "takes it from its folder, `userbert pretrain` makes one"
        )
    return models[model_id]


def champion_of(models: Standing) -> Model | None:
    return next((m for m in models.values() if m.status == "champion"), None)


def crowned(models: Standing, model_id: str, reason: str) -> Standing:
    """`model_id` is the champion, and the one before it is retired. Again is no change."""
    new, old = find(models, model_id), champion_of(models)
    if old == new:
        return models
    if new.status == "refused":
        raise BadInput(f"{model_id} was refused ({new.status_reason}): it cannot be promoted")
    retired = {old.model_id: old.now("retired", f"{REPLACED}{model_id}")} if old else {}
    return {**models, **retired, model_id: new.now("champion", reason)}


def before_champion(models: Standing) -> tuple[Model, Model]:
    """The champion, and the model that it replaced; the one replaced last, where there are two."""
    champion = champion_of(models)
    if champion is None:
        raise MissingTable("there is no champion to roll back from")
    reason = f"{REPLACED}{champion.model_id}"
    replaced = [m for m in models.values() if m.status_reason == reason]
    if not replaced:
        raise BadInput(
            f"{champion.model_id} replaced no model that could come back: "
            "`userbert models promote MODEL_ID` names one"
        )
    return champion, max(replaced, key=lambda m: (m.status_changed_at, m.model_id))


def rolled_back(models: Standing, from_id: str, to_id: str) -> Standing:
    """`to_id` is the champion again; a second rollback goes to the one before it."""
    if (champion := champion_of(models)) and champion.model_id == to_id:
        return models
    retired = find(models, from_id).now("retired", f"rolled back to {to_id}")
    back = find(models, to_id).now("champion", f"rolled back from {from_id}")
    return {**models, from_id: retired, to_id: back}


def set_aside(models: Standing, model_id: str, status: str, reason: str) -> Standing:
    """Retire or refuse a model that is not served."""
    model = find(models, model_id)
    if model.status == "champion":
        raise BadInput(
            f"{model_id} is the champion: promote another one, or roll back, and it is retired"
        )
    if (model.status, model.status_reason) == (status, reason):
        return models
    return {**models, model_id: model.now(status, reason)}
