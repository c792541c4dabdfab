"""A run as a picture: for each task and rival a dot and its interval."""

import math
from pathlib import Path

from downstream.judging.cells import ALL_USERS
from downstream.judging.evaluation import Evaluation
from downstream.output.report import rivals_of

_PANELS_IN_A_ROW = 4


def draw_picture(found: Evaluation, path: Path) -> None:
    """A panel a task: for each rival a dot at its mean and a line of one deviation to each side.

    Logistic head; filled dots are all labels, empty ones the smallest share.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shares = max(found.settings.label_shares), min(found.settings.label_shares)
    rivals = rivals_of(found.rows)[::-1]
    across = min(_PANELS_IN_A_ROW, len(found.tasks))
    down = math.ceil(len(found.tasks) / across)
    size = (3.2 * across + 2, (0.3 * len(rivals) + 0.6) * down + 0.6)
    figure, grid = plt.subplots(down, across, sharey=True, squeeze=False, figsize=size)
    panels = grid.flatten()
    for panel in panels[len(found.tasks) :]:
        panel.set_visible(False)
    for panel, task in zip(panels, found.tasks, strict=False):  # the last row may have room left
        panel.axvline(task.chance, color="0.8", linewidth=1)
        panel.set_title(f"{task.name} ({task.metric})", fontsize=9)
        for r in found.results:
            if (r.task, r.head, r.population) != (task.name, "logistic", ALL_USERS):
                continue
            if r.label_share in shares:
                is_all = r.label_share == shares[0]
                color = "tab:red" if r.rival == found.model_id else "tab:blue"
                panel.errorbar(
                    r.mean,
                    rivals.index(r.rival) + (0.12 if is_all else -0.12),
                    xerr=r.deviation,
                    fmt="o",
                    markersize=4,
                    color=color,
                    markerfacecolor=color if is_all else "white",
                )
    for row in grid:
        row[0].set_yticks(range(len(rivals)), rivals, fontsize=8)
    figure.suptitle(f"{found.model_id} and its rivals as of {found.as_of}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)
