"""What may happen to a model's status, as functions of plain values: all models in, all models out.

    candidate --> champion --> retired          a promotion retires the champion before it
        \\-------> refused    \\<---- rolled back to

At most one is the champion. Each change gives a reason, and the time it was made. A model that was
replaced keeps "replaced by MODEL_ID" at the head of its reason, whatever is said of it later: by
that a rollback finds its way back through the champions.
"""

from contracts.errors import BadInput, MissingTable
from spark_jobs.tables.models import Model, Models, champion_model, find_model

_REPLACED_BY, _ROLLED_BACK_FROM = "replaced by ", "rolled back from "
_END = "; "  # between "replaced by MODEL_ID" and what was said later


def with_champion(models: Models, model_id: str, reason: str) -> Models:
    """`model_id` is the champion, and the one before it is retired. Again is no change."""
    new, old = find_model(models, model_id), champion_model(models)
    if old == new:
        return models
    retired = {}
    if old:
        retired = {old.model_id: old.with_status("retired", f"{_REPLACED_BY}{model_id}")}
    return {**models, **retired, model_id: new.with_status("champion", reason)}


def rollback_target(models: Models) -> tuple[Model, Model]:
    """The champion, and the newest champion before it that has not been refused."""
    champion = champion_model(models)
    if champion is None:
        raise MissingTable("there is no champion to roll back from")
    refused = []
    target = _replaced_by(models, champion)
    while target and target.status == "refused":
        refused.append(f"{target.model_id} is refused")
        target = _replaced_by(models, target)
    if target:
        return champion, target
    why = f" ({', '.join(refused)})" if refused else ""
    raise BadInput(
        f"{champion.model_id} replaced no model that could come back{why}: "
        "`userbert models promote MODEL_ID` makes any registered model the champion"
    )


def _replaced_by(models: Models, champion: Model) -> Model | None:
    """The model that `champion` replaced; the one that it replaced last, where there are two."""
    replaced = [m for m in models.values() if _successor(m) == champion.model_id]
    return max(replaced, key=lambda m: (m.status_changed_at, m.model_id), default=None)


def _successor(model: Model) -> str | None:
    """The model_id by which `model` was replaced as champion."""
    if not model.status_reason.startswith(_REPLACED_BY):
        return None
    return model.status_reason.removeprefix(_REPLACED_BY).partition(_END)[0]


def later_reason(model: Model) -> str:
    """The model's reason, without "replaced by MODEL_ID" at its head."""
    if _successor(model) is None:
        return model.status_reason
    return model.status_reason.partition(_END)[2]


def rolled_back(models: Models, from_id: str, to_id: str) -> Models:
    """`to_id` is the champion again; a second rollback goes to the one before it."""
    if (champion := champion_model(models)) and champion.model_id == to_id:
        return models
    retired = find_model(models, from_id).with_status("retired", f"rolled back to {to_id}")
    back = find_model(models, to_id).with_status("champion", f"{_ROLLED_BACK_FROM}{from_id}")
    return {**models, from_id: retired, to_id: back}


def was_rolled_back_to(champion: Model) -> bool:
    return champion.status_reason.startswith(_ROLLED_BACK_FROM)


def with_excluded(models: Models, model_id: str, status: str, reason: str) -> Models:
    """Retire or refuse a model that is not served."""
    if find_model(models, model_id).status == "champion":
        raise BadInput(
            f"{model_id} is the champion: promote another model, or roll back, and it is retired"
        )
    return with_reason(models, model_id, reason, status)


def with_reason(models: Models, model_id: str, reason: str, status: str | None = None) -> Models:
    """The model with a new reason (and status); what it was replaced by stays at the head."""
    model = find_model(models, model_id)
    status = status or model.status
    if (successor := _successor(model)) is not None:
        reason = f"{_REPLACED_BY}{successor}{_END}{reason}"
    if (model.status, model.status_reason) == (status, reason):
        return models
    return {**models, model_id: model.with_status(status, reason)}
