"""How long a day of a backfill takes: by what earlier days took, or by a short rehearsal.

Each day that a backfill writes adds a line to backfill/timings.jsonl. Before there is one, a sample
of users is embedded for the clock alone, and nothing of it is kept.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np

from contracts.paths import Places
from contracts.tables import SESSIONS, TITLES
from spark_jobs.lake.lake import Lake
from spark_jobs.tables.user_embeddings import shipping, titles_of, to_embeddings
from spark_jobs.tables.user_sequences import to_sequences

KEPT = 60  # newest days that the pace is taken from
SAMPLE = 2_000  # users of the rehearsal
# A gate and a commit of a small day on two cores, beside what the rehearsal does itself.
GATE_AND_COMMIT = 4.0  # seconds


@dataclass(frozen=True)
class Timing:
    """One day that was written."""

    model_id: str
    as_of: str
    rows: int  # vectors
    seconds: float
    jobs: int = 2  # tables that were written: sequences and vectors, or vectors alone


@dataclass(frozen=True)
class Pace:
    seconds_a_job: float
    seconds_a_row: float
    told_by: str

    def seconds(self, days: Sequence[tuple[int, int]]) -> float:
        """Of days of (jobs, vectors) each, one after the other."""
        return sum(self.seconds_a_job * jobs + self.seconds_a_row * rows for jobs, rows in days)


def timings_path(places: Places) -> Path:
    return places.root / "backfill" / "timings.jsonl"


def note(places: Places, timing: Timing) -> None:
    """Add a line, whole, whoever writes beside."""
    timings_path(places).parent.mkdir(parents=True, exist_ok=True)
    with timings_path(places).open("a") as file:
        file.write(json.dumps(asdict(timing)) + "\n")


def noted(places: Places) -> list[Timing]:
    """Oldest first; a line that a kill has torn is left out."""
    path = timings_path(places)
    lines = path.read_text().splitlines() if path.exists() else []
    whole = (line for line in lines if line.startswith("{") and line.endswith("}"))
    return [Timing(**json.loads(line)) for line in whole]


def pace_of(timings: Sequence[Timing], model_id: str) -> Pace | None:
    """A job's cost and a row's, by least squares; of this model's days if there are any."""
    own = [each for each in timings if each.model_id == model_id]
    used = (own or list(timings))[-KEPT:]
    if not used:
        return None
    rows = np.array([each.rows / each.jobs for each in used], float)
    seconds = np.array([each.seconds / each.jobs for each in used], float)
    spread = float(((rows - rows.mean()) ** 2).sum())
    slope = float(((rows - rows.mean()) * seconds).sum() / spread) if spread else 0.0
    slope = min(max(slope, 0.0), float(seconds.mean() / max(rows.mean(), 1.0)))
    a_job = float(seconds.mean() - slope * rows.mean())
    return Pace(a_job, slope, f"{len(used)} days that were backfilled before")


def rehearse(lake: Lake, model: Path, as_of: date) -> Pace:
    """Compute one day for the clock: its sequences, and the vectors of a sample of its users."""
    began = time.monotonic()
    sequences = to_sequences(lake.read(SESSIONS), as_of).persist()
    try:
        users = sequences.count()
        a_job = (time.monotonic() - began) / 2 + GATE_AND_COMMIT
        sample = sequences.orderBy("user_id").limit(SAMPLE)
        with shipping(lake.spark, model, titles_of(sample, lake.read(TITLES))) as shipped:
            vectors = to_embeddings(sample, min(users, SAMPLE), shipped, model.name, as_of)
            for _ in range(2):  # the first one starts Python and loads the model
                began = time.monotonic()
                vectors.write.format("noop").mode("overwrite").save()
        a_row = (time.monotonic() - began) / min(users, SAMPLE)
    finally:
        sequences.unpersist()
    return Pace(a_job, a_row, f"a rehearsal of {min(users, SAMPLE):,} users of {as_of}")
