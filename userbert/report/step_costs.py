"""What each step of a run cost: seconds, work and memory, as Spark logged them."""

from dataclasses import dataclass

from contracts.paths import Places
from spark_jobs.spark.event_log import newest_steps
from spark_jobs.spark.job_facts import JobFacts
from userbert.report.subject import Subject

_MAX_LOGS = 8  # event logs that are read: a night leaves two; 15 ms each


@dataclass(frozen=True)
class StepCost:
    """One job of Spark: an application, or a step of one."""

    step: str
    run: str
    seconds: float
    task_seconds: float
    rows_in: int
    rows_out: int
    bytes_written: int
    spilled_bytes: int
    peak_memory_bytes: int
    failed_tasks: int
    finished: bool


def gather_costs(places: Places, subject: Subject, run: str) -> list[StepCost]:
    """The steps of the run, slowest first.

    `run` is the DAG and run that wrote the tables. Without one, the newest application of each of
    the run's jobs counts as its step.
    """
    found = newest_steps(places.event_logs, _MAX_LOGS)
    own = [facts for facts in found if run and facts.run.startswith(run)]
    jobs = {table.name for table in subject.tables}
    by_hand = {facts.job: facts for facts in reversed(found) if facts.job in jobs and not run}
    steps = own or list(by_hand.values())
    return sorted((_cost(facts) for facts in steps), key=lambda cost: -cost.seconds)


def _cost(facts: JobFacts) -> StepCost:
    return StepCost(
        facts.job,
        facts.run,
        facts.seconds,
        facts.task_seconds,
        sum(facts.rows_in.values()),
        facts.rows_out,
        facts.bytes_written,
        facts.spilled_bytes,
        facts.peak_memory_bytes,
        facts.failed_tasks,
        facts.finished,
    )
