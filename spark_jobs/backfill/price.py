"""What days of a backfill will cost: time, bytes and memory, by what earlier days cost here.

Each table has a line of its own: a part for the day and a part for each row, fitted to the record
with the newest days before all. Time is fitted in CPU seconds, which other work on the machine
changes little. It becomes seconds by how busy the machine was on the newest days, and is now: what
the plan's own survey of the days took, beside its CPU seconds. Without a record a sample of users
is embedded to measure the time, and nothing of it is kept.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from contracts.tables import SESSIONS, TITLES, USER_EMBEDDINGS, USER_SEQUENCES
from spark_jobs.backfill.cost_record import DayCost
from spark_jobs.backfill.day import Day
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.process_cost import ProcessCost, measure_peak
from spark_jobs.tables.user_embeddings import shipped_model, titles_of, to_embeddings
from spark_jobs.tables.user_sequences import to_sequences

_MAX_DAYS = 60  # newest days that a price is made from
_MIN_OWN_DAYS = 5  # of one model, fewer of which say less than the days of all
_NUM_PEAKS = 10  # newest days whose memory counts
_NUM_PACES = 20  # newest days that tell how a day goes beside the survey before it
_NUM_NEWEST_PACES = 5  # newest days by which the machine's usual pace is guessed
_HALF_LIFE_DAYS = 6.0  # recorded days after which one counts half
_SAMPLE_USERS = 2_000  # users of the rehearsal
# A gate and a commit of a small day on two cores, which the rehearsal leaves out.
_GATE_AND_COMMIT_SECONDS = 4.0
_TABLES = (USER_SEQUENCES.name, USER_EMBEDDINGS.name)


@dataclass(frozen=True)
class Line:
    """A part for each day and a part for each of its rows."""

    a_day: float
    a_row: float

    def at(self, rows: float) -> float:
        return self.a_day + self.a_row * rows


@dataclass(frozen=True)
class Price:
    """What a run costs: of one process, days one after the other."""

    seconds: float  # on a machine that is as busy as it is now
    bytes: int
    peak_bytes: int  # resident at most, of the JVM and Python's workers together
    cpu_seconds: float | None = None  # of both too; None where no record has them


@dataclass(frozen=True)
class PriceList:
    """The lines that a price is made from, by table."""

    time: dict[str, Line]  # of seconds, or of CPU seconds where there is a pace
    bytes: dict[str, Line]
    peak_bytes: int
    first_day: float  # the time that the first day of a process takes beyond its line
    survey: ProcessCost  # the look at the days that a run begins with, in a new process
    warm_survey: ProcessCost  # the same in a process that has done it before
    source: str
    pace: float | None = None  # seconds for a CPU second of a day, now

    def of(self, days: Sequence[Day], in_new_process: bool = True) -> Price:
        work = [
            (name, rows)
            for day in days
            for name, rows in zip(
                _TABLES, (day.sequences_to_write, day.vectors_to_write), strict=True
            )
            if rows
        ]
        if not work:
            return Price(0.0, 0, 0)
        first = self.first_day if in_new_process else 0.0
        survey = self.survey if in_new_process else self.warm_survey
        time = first + sum(self.time[name].at(rows) for name, rows in work)
        return Price(
            survey.seconds + (self.pace or 1.0) * time,
            round(sum(self.bytes[name].at(rows) for name, rows in work)),
            self.peak_bytes,
            survey.cpu_seconds + time if self.pace else None,
        )


def price_by_record(
    record: Sequence[DayCost], model_id: str, bytes_a_row: dict[str, float], survey: ProcessCost
) -> PriceList | None:
    """By this model's days if there are enough; bytes, which no model changes, by all days.

    `bytes_a_row` is taken where no bytes were recorded. `survey` is what the plan's look at the
    days has just taken: it says how busy the machine is.
    """
    own = [each for each in record if each.model_id == model_id]
    everything = list(record)[-_MAX_DAYS:]
    used = own[-_MAX_DAYS:] if len(own) >= _MIN_OWN_DAYS else everything
    if not used:
        return None
    in_cpu = [each for each in used if each.cpu_seconds and each.survey_cpu_seconds]
    used = in_cpu or used
    lines = {name: _time_line(used, name, bool(in_cpu)) for name in _TABLES}
    spent = max(lines.values(), key=lambda line: line.a_day)  # a table that no day wrote
    lines = {name: line if line.a_day or line.a_row else spent for name, line in lines.items()}
    # A JVM keeps what it once took, so the memory follows the newest days and not the rows.
    peaks = [each.peak_bytes for each in everything if each.peak_bytes][-_NUM_PEAKS:]
    return PriceList(
        time=lines,
        bytes={name: _bytes_line(everything, name, bytes_a_row[name]) for name in _TABLES},
        peak_bytes=max(peaks, default=0),
        first_day=_first_day(used, lines, bool(in_cpu)),
        survey=survey,
        warm_survey=_warm_survey(in_cpu, survey),
        source=f"{len(used)} days that were backfilled before",
        pace=_pace(in_cpu, survey),
    )


def _pace(used: Sequence[DayCost], survey: ProcessCost) -> float | None:
    """Seconds for a CPU second of the days to come: the geometric mean of two guesses, since a
    machine is seldom busy for long. As on the newest days; and as the survey went just now, times
    the usual ratio of a day's to its survey's, for a day keeps more processes busy."""
    paces, ratios = [], []
    for each in used[-_NUM_PACES:]:
        if each.tables and each.cpu_seconds and each.survey_seconds and each.survey_cpu_seconds:
            seconds = sum(cost.seconds for cost in each.tables.values())
            paces.append(seconds / each.cpu_seconds)
            ratios.append(paces[-1] * each.survey_cpu_seconds / each.survey_seconds)
    if not paces:
        return None
    now = float(np.median(ratios)) * _busyness(survey)
    return float(np.sqrt(now * np.mean(paces[-_NUM_NEWEST_PACES:])))


def _busyness(survey: ProcessCost) -> float:
    """Seconds for a CPU second."""
    return survey.seconds / survey.cpu_seconds if survey.cpu_seconds else 1.0


def _warm_survey(used: Sequence[DayCost], survey: ProcessCost) -> ProcessCost:
    """By the runs' own surveys, since a plan's is the first of its process and takes longer."""
    taken = [each.survey_cpu_seconds for each in used[-_NUM_PACES:] if each.survey_cpu_seconds]
    if not taken:
        return survey
    cpu_seconds = float(np.median(taken))
    return ProcessCost(cpu_seconds * _busyness(survey), cpu_seconds)


def _time_line(used: Sequence[DayCost], name: str, in_cpu: bool) -> Line:
    """Of the days after a process's first one, if there are any."""
    later = [each for each in used if not each.is_first] or list(used)
    costs = [cost for each in later if (cost := each.of_table(name))]
    return fit_line([(cost.rows, cost.cpu_seconds if in_cpu else cost.seconds) for cost in costs])


def _bytes_line(used: Sequence[DayCost], name: str, a_row: float) -> Line:
    costs = [cost for each in used if (cost := each.of_table(name)) and cost.bytes]
    return fit_line([(cost.rows, cost.bytes) for cost in costs]) if costs else Line(0.0, a_row)


def _first_day(used: Sequence[DayCost], lines: dict[str, Line], in_cpu: bool) -> float:
    """The median of what first days took beyond the lines of later ones."""
    beyond = []
    for each in used:
        if each.is_first:
            costs = {name: cost for name in _TABLES if (cost := each.of_table(name))}
            expected = sum(lines[name].at(cost.rows) for name, cost in costs.items())
            taken = (each.cpu_seconds or 0.0) if in_cpu else each.seconds
            beyond.append(max(0.0, taken - expected))
    return float(np.median(beyond)) if beyond else 0.0


def fit_line(points: Sequence[tuple[float, float | None]]) -> Line:
    """Least squares over (rows, cost), the last points before all; no part is below 0."""
    if not points:
        return Line(0.0, 0.0)
    rows, costs = np.array(points, float).T  # (P,) both
    weights = 0.5 ** (np.arange(len(rows))[::-1] / _HALF_LIFE_DAYS)
    mean_rows, mean_cost = np.average(rows, weights=weights), np.average(costs, weights=weights)
    spread = float((weights * (rows - mean_rows) ** 2).sum())
    covariance = float((weights * (rows - mean_rows) * (costs - mean_cost)).sum())
    slope = covariance / spread if spread else 0.0
    slope = min(max(slope, 0.0), float(mean_cost / max(mean_rows, 1.0)))
    return Line(float(mean_cost - slope * mean_rows), slope)


def rehearse_day(
    lake: Lake,
    model: Path,
    as_of: date,
    bytes_a_row: dict[str, float],
    survey: ProcessCost,
) -> PriceList:
    """Measure one day: compute its sequences, and the vectors of a sample of its users."""
    with measure_peak() as peak:
        a_job, a_row, users = _rehearsed_seconds(lake, model, as_of)
    return PriceList(
        time={USER_SEQUENCES.name: Line(a_job, 0.0), USER_EMBEDDINGS.name: Line(a_job, a_row)},
        bytes={name: Line(0.0, bytes_a_row[name]) for name in _TABLES},
        peak_bytes=peak.bytes,
        first_day=0.0,
        survey=survey,
        warm_survey=survey,
        source=f"a rehearsal of {users:,} users of {as_of}",
    )


def _rehearsed_seconds(lake: Lake, model: Path, as_of: date) -> tuple[float, float, int]:
    """(seconds of a job, seconds of a row, users of the sample)."""
    began = time.monotonic()
    sequences = to_sequences(lake.read(SESSIONS), as_of).persist()
    try:
        users = sequences.count()
        a_job = (time.monotonic() - began) / 2 + _GATE_AND_COMMIT_SECONDS
        sample = sequences.orderBy("user_id").limit(_SAMPLE_USERS)
        num_sampled = min(users, _SAMPLE_USERS)
        with shipped_model(lake.spark, model, titles_of(sample, lake.read(TITLES))) as shipped:
            vectors = to_embeddings(sample, num_sampled, shipped, model.name, as_of)
            for _ in range(2):  # the first one starts Python and loads the model
                began = time.monotonic()
                vectors.write.format("noop").mode("overwrite").save()
        a_row = (time.monotonic() - began) / num_sampled
    finally:
        sequences.unpersist()
    return a_job, a_row, num_sampled
