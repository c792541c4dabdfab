"""The views of the analyst's door, as SQL that Spark and DuckDB both read."""

from contracts.tables import MODELS, PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
from contracts.vectors import OWN_SPACE_SQL

_COLUMNS = ", ".join(USER_EMBEDDINGS.names)
_SPACES = f"SELECT model_id, nullif(space_id, '') AS space_id FROM {MODELS.name}"
_NO_SPACES = "SELECT '' AS model_id, '' AS space_id WHERE false"

# Each user's newest vector under the champion.
LATEST_VIEW = f"""SELECT {_COLUMNS}, space_id FROM {PUBLISHED_EMBEDDINGS.name}
QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY as_of DESC) = 1"""


def as_of_view(has_models: bool) -> str:
    """Each user's newest vector of `day` or earlier: of `model`, or of the champion where that is
    null.

    The champion's are read from what was published, which changes from one model to the next in one
    commit, so that nobody sees two. `models` says which space another model's vectors live in;
    in a lake without it each model has its own.
    """
    spaces = (
        f"SELECT model_id, nullif(space_id, '') AS space_id FROM {MODELS.name}"
        if has_models
        else _NO_SPACES
    )
    return f"""SELECT {_COLUMNS}, space_id FROM (
  SELECT {_COLUMNS}, space_id FROM {PUBLISHED_EMBEDDINGS.name} WHERE model IS NULL AND as_of <= day
  UNION ALL
  SELECT {_COLUMNS}, coalesce(space_id, {OWN_SPACE_SQL}) AS space_id
  FROM {USER_EMBEDDINGS.name} LEFT JOIN ({spaces}) USING (model_id)
  WHERE model_id = model AND as_of <= day
) QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY as_of DESC) = 1"""


# Spark's names for what DuckDB has under others.
VECTOR_FUNCTIONS = {
    "vector_cosine_similarity(a, b)": "list_cosine_similarity(a, b)",
    "vector_inner_product(a, b)": "list_inner_product(a, b)",
    "vector_l2_distance(a, b)": "list_distance(a, b)",
    "vector_norm(a)": "sqrt(list_inner_product(a, a))",
}
