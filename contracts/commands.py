"""Where this project lies, and which commands a scheduler starts: from a checkout or a wheel."""

import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).parents[1]


def _data_folder(name: str) -> Path:
    """A folder that is no package: of the checkout, or in a wheel a part of `userbert`."""
    in_wheel = PROJECT_ROOT / "userbert" / name
    return in_wheel if in_wheel.is_dir() else PROJECT_ROOT / name


CONF_FOLDER = _data_folder("conf")
DAGS_FOLDER = _data_folder("dags")
PLUGINS_FOLDER = PROJECT_ROOT / "userbert" / "scheduling" / "airflow_plugins"
CLI = str(PROJECT_ROOT / "userbert" / "cli.py")  # what spark-submit is given
USERBERT_COMMAND = str(Path(sys.prefix) / "bin" / "userbert")  # what a shell is given
TORCHRUN_COMMAND = str(Path(sys.prefix) / "bin" / "torchrun")
SPARK_SUBMIT = str(Path(sys.prefix) / "bin" / "spark-submit")
# Presets of model/config.py that the DAG pretraining offers, and the one that it and `userbert run`
# take where none is named.
PIPELINE_PRESETS = ("smoke", "small", "memory", "strong", "paper")
DEFAULT_PRESET = "memory"
