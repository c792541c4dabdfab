"""After a change of champion: the feature store follows, or one line says that it did not.

The feature store is a room above this one, so it is reached by its command, as a DAG reaches it.
"""

import os
import subprocess

from contracts.commands import USERBERT_COMMAND
from contracts.paths import Places
from contracts.tables import PUBLISHED_EMBEDDINGS
from spark_jobs.lake.lake import Lake


def refresh_online_store(lake: Lake, places: Places) -> str:
    """Serve the published vectors online. One line: what is served now, or why it is not."""
    if not (places.feature_store / "feature_store.yaml").exists():
        return "The feature store is empty: `userbert features refresh --as-of DAY` fills it."
    day = lake.read_or_empty(PUBLISHED_EMBEDDINGS).selectExpr("max(as_of)").collect()[0][0]
    if day is None:
        return "The online store is as it was: no vectors are published."
    command = [USERBERT_COMMAND, "features", "refresh", "--as-of", str(day)]
    environment = {**os.environ, "USERBERT_DATA": str(places.root)}
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return (
            "The online store still serves the model before: `userbert features refresh --as-of "
            f"{day}` brings it along. It failed now: {lines[-1] if lines else error}"
        )
    return f"The online store has followed: {ended.stdout.strip().splitlines()[-1]}"
