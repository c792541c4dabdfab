"""How a scheduler starts this project's commands: the same on any machine that has the checkout."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLI = str(ROOT / "userbert" / "cli.py")  # what spark-submit is given
USERBERT = str(Path(sys.prefix) / "bin" / "userbert")  # what a shell is given
TORCHRUN = str(Path(sys.prefix) / "bin" / "torchrun")
SPARK_SUBMIT = str(Path(sys.prefix) / "bin" / "spark-submit")
