"""How long a day of a backfill takes, by what earlier days took, or by a short rehearsal.

Each day that a backfill writes adds a line to backfill/timings.jsonl. Before there is one, a sample
of users is embedded to measure the time, and nothing of it is kept.
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
from spark_jobs.tables.user_embeddings import shipped_model, titles_of, to_embeddings
from spark_jobs.tables.user_sequences import to_sequences

_MAX_TIMINGS = 60  # newest days that an estimate is made from
_SAMPLE_USERS = 2_000  # users of the rehearsal
# A gate and a commit of a small day on two cores, which the rehearsal leaves out.
_GATE_AND_COMMIT_SECONDS = 4.0  # seconds


@dataclass(frozen=True)
class Timing:
    """One day that was written."""

    model_id: str
    as_of: str
    rows: int  # vectors
    seconds: float
    jobs: int = 2  # tables that were written: sequences and vectors, or vectors alone


@dataclass(frozen=True)
class TimeEstimate:
    seconds_a_job: float
    seconds_a_row: float
    source: str

    def seconds(self, days: Sequence[tuple[int, int]]) -> float:
        """For days of (jobs, vectors) each, one after the other."""
        return sum(self.seconds_a_job * jobs + self.seconds_a_row * rows for jobs, rows in days)


def _timings_path(places: Places) -> Path:
    return places.root / "backfill" / "timings.jsonl"


def add_timing(places: Places, timing: Timing) -> None:
    """Add a line in one write, so that several processes may add theirs."""
    _timings_path(places).parent.mkdir(parents=True, exist_ok=True)
    with _timings_path(places).open("a") as file:
        file.write(json.dumps(asdict(timing)) + "\n")


def read_timings(places: Places) -> list[Timing]:
    """All timings, oldest first; a line that a kill has torn is left out."""
    path = _timings_path(places)
    lines = path.read_text().splitlines() if path.exists() else []
    whole = (line for line in lines if line.startswith("{") and line.endswith("}"))
    return [Timing(**json.loads(line)) for line in whole]


def estimate_from_timings(timings: Sequence[Timing], model_id: str) -> TimeEstimate | None:
    """A job's cost and a row's, by least squares; of this model's days if there are any."""
    own = [each for each in timings if each.model_id == model_id]
    used = (own or list(timings))[-_MAX_TIMINGS:]
    if not used:
        return None
    rows = np.array([each.rows / each.jobs for each in used], float)
    seconds = np.array([each.seconds / each.jobs for each in used], float)
    spread = float(((rows - rows.mean()) ** 2).sum())
    slope = float(((rows - rows.mean()) * seconds).sum() / spread) if spread else 0.0
    slope = min(max(slope, 0.0), float(seconds.mean() / max(rows.mean(), 1.0)))
    a_job = float(seconds.mean() - slope * rows.mean())
    return TimeEstimate(a_job, slope, f"{len(used)} days that were backfilled before")


def rehearse_day(lake: Lake, model: Path, as_of: date) -> TimeEstimate:
    """Measure one day: compute its sequences, and the vectors of a sample of its users."""
    began = time.monotonic()
    sequences = to_sequences(lake.read(SESSIONS), as_of).persist()
    try:
        users = sequences.count()
        a_job = (time.monotonic() - began) / 2 + _GATE_AND_COMMIT_SECONDS
        sample = sequences.orderBy("user_id").limit(_SAMPLE_USERS)
        with shipped_model(lake.spark, model, titles_of(sample, lake.read(TITLES))) as shipped:
            vectors = to_embeddings(sample, min(users, _SAMPLE_USERS), shipped, model.name, as_of)
            for _ in range(2):  # the first one starts Python and loads the model
                began = time.monotonic()
                vectors.write.format("noop").mode("overwrite").save()
        a_row = (time.monotonic() - began) / min(users, _SAMPLE_USERS)
    finally:
        sequences.unpersist()
    return TimeEstimate(
        a_job, a_row, f"a rehearsal of {min(users, _SAMPLE_USERS):,} users of {as_of}"
    )
