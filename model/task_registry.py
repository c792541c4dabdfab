"""The pre-training tasks by the names that settings use, readable without torch.

A new task is one file in `model/objective/tasks/` and one entry here. Whoever reports or judges a
model's accuracies (the log, the promotion criteria, the comparisons) takes their names from here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskEntry:
    """Where a task is implemented, and what held-out users are asked about it.

    The evaluation gives `{metric}_accuracy`, `{metric}_chance` and `{metric}_loss`, and the number
    of answers under the name `num_answers`. A task without a metric is trained on and not asked.
    """

    module: str  # in model/objective/tasks
    metric: str = ""
    num_answers: str = ""
    form: str = "window"  # of the user model that the task trains


# Every model answers the questions of all metrics in this order, whatever it was trained on.
TASKS: dict[str, TaskEntry] = {
    "mbp": TaskEntry("masked_behaviors", metric="masked", num_answers="masked_behaviors"),
    "bsm": TaskEntry("sequence_matching", metric="matching", num_answers="matched_pairs"),
    "nbp": TaskEntry("next_behaviors"),
    "cp": TaskEntry("contrasted_views"),
    "next_period": TaskEntry("next_period", form="memory"),
    "reconstruction": TaskEntry("reconstruction", form="memory"),
    "period_matching": TaskEntry("period_matching", form="memory"),
}

# The metrics by name, each with the measure that counts its answers.
METRICS: dict[str, str] = {task.metric: task.num_answers for task in TASKS.values() if task.metric}
