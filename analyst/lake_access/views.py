"""The views of the analyst's door, as SQL that Spark and DuckDB both read."""

from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS

_COLUMNS = ", ".join(USER_EMBEDDINGS.names)

# Each user's newest vector under the champion.
LATEST_VIEW = f"""SELECT {_COLUMNS}, space_id FROM {PUBLISHED_EMBEDDINGS.name}
QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY as_of DESC) = 1"""

# Each user's newest vector of `day` or earlier: of `model`, or of the champion where that is null.
# The champion's are read from what was published, which changes from one model to the next in one
# commit, so that nobody sees two.
AS_OF_VIEW = f"""SELECT {_COLUMNS} FROM (
  SELECT {_COLUMNS} FROM {PUBLISHED_EMBEDDINGS.name} WHERE model IS NULL AND as_of <= day
  UNION ALL
  SELECT {_COLUMNS} FROM {USER_EMBEDDINGS.name} WHERE model_id = model AND as_of <= day
) QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY as_of DESC) = 1"""

# Spark's names for what DuckDB has under others.
VECTOR_FUNCTIONS = {
    "vector_cosine_similarity(a, b)": "list_cosine_similarity(a, b)",
    "vector_inner_product(a, b)": "list_inner_product(a, b)",
    "vector_l2_distance(a, b)": "list_distance(a, b)",
    "vector_norm(a)": "sqrt(list_inner_product(a, a))",
}
