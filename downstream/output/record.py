"""An evaluation as rows of the table `evaluations`, by its gate and with its provenance."""

import json
import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.paths import Places
from contracts.provenance import code_version
from contracts.tables import EVALUATIONS
from downstream.judging.evaluation import Evaluation
from downstream.judging.summary import Row
from expectations.gate import run_gate
from spark_jobs.lake.lake import Commit, Lake


def write_evaluation(
    lake: Lake, places: Places, found: Evaluation, inputs: dict[str, int]
) -> Commit:
    """Replace the rows of this evaluation. `inputs` are the Delta versions that it read."""
    now = datetime.now(UTC)
    rows = [_as_row(found, row, now) for row in found.rows]
    frame = lake.spark.createDataFrame(rows, EVALUATIONS.ddl)
    passed = run_gate(frame, EVALUATIONS, places=places, run=found.evaluation_id)
    where = f"as_of = '{found.as_of}' and evaluation_id = '{found.evaluation_id}'"
    return lake.replace(passed, where, evaluated=inputs)


def _as_row(found: Evaluation, row: Row, now: datetime) -> tuple[Any, ...]:
    result = row.result
    values = {
        **asdict(result),
        "as_of": found.as_of,
        "evaluation_id": found.evaluation_id,
        "model_id": found.model_id,
        "mean": result.mean,
        "deviation": result.deviation,
        "split_scores": [score for score in result.scores if math.isfinite(score)],
        "difference": row.difference,
        "p_value": row.p_value,
        "is_leaking": result.task in found.leaking,
        "was_trained_again": result.rival in found.twins,
        "settings": json.dumps(asdict(found.settings), sort_keys=True),
        "evaluated_at": now,
        "code_version": code_version(),
    }
    return tuple(values[name] for name in EVALUATIONS.names)
