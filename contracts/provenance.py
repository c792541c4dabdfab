"""Which code, run and inputs made a thing: what commits, models and reports carry with them."""

import os
import subprocess
from functools import cache
from pathlib import Path

# A key in the metadata of a Parquet file of impressions: the views that the lake has from before a
# user's first impression have an order and made-up times, as MIND's histories do.
VIEW_TIMES_MADE_UP = b"userbert.view_times_are_made_up"


BY_HAND = "by hand"


@cache
def code_version() -> str:
    """The commit of the code, `-dirty` where files differ from it.

    `USERBERT_CODE_VERSION` comes first, for images that hold no checkout; else "unknown".
    """
    if named := os.environ.get("USERBERT_CODE_VERSION"):
        return named
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def run_name() -> str:
    """Airflow's run, task and try, or "by hand"."""
    names = ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID", "AIRFLOW_CTX_TASK_ID")
    return "/".join(os.environ[name] for name in names if name in os.environ) or BY_HAND
