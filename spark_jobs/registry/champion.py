"""Which model is served: the champion that the table `models` names."""

from contracts.errors import MissingTable
from contracts.tables import MODELS
from spark_jobs.lake.lake import Lake


def champion_or_none(lake: Lake) -> str | None:
    row = lake.read_or_empty(MODELS).where("status = 'champion'").select("model_id").first()
    return str(row["model_id"]) if row else None


def champion(lake: Lake) -> str:
    """The champion's model_id; `MissingTable` when no model has been promoted yet."""
    found = champion_or_none(lake)
    if found is None:
        raise MissingTable(
            f"no model in {lake.path(MODELS)} is the champion yet: `userbert models list` shows "
            "the candidates, `userbert models judge MODEL_ID --promote` makes one the champion"
        )
    return found
