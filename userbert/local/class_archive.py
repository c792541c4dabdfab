"""Make the archive of Spark's classes: spark_jobs/spark/class_archive.py says what it is for.

    python -m userbert.local.class_archive

A small night's jobs run in one JVM, which leaves what it loaded as it ends (JEP 350).
"""

import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from contracts.commands import CONF_FOLDER
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file
from spark_jobs.spark.class_archive import ARCHIVE_FILE, OPTIONS_VARIABLE, archive_options

_SUBMIT_COMMAND = "--master local[2] --conf spark.ui.showConsoleProgress=false pyspark-shell"
_JOBS = "from userbert.local.class_archive import run_jobs; run_jobs()"


def make_archive(target: Path) -> None:
    """Run the jobs in a process of its own, whose JVM writes the archive as it ends."""
    with tempfile.TemporaryDirectory() as scratch, atomic_file(target) as made:
        ours = {
            "USERBERT_DATA": scratch,
            "SPARK_CONF_DIR": str(CONF_FOLDER),
            "PYSPARK_SUBMIT_ARGS": _SUBMIT_COMMAND,
            OPTIONS_VARIABLE: archive_options(f"-XX:ArchiveClassesAtExit={made}"),
        }
        others = {k: v for k, v in os.environ.items() if not k.startswith(("USERBERT_", "SPARK_"))}
        words = [sys.executable, "-c", _JOBS]
        done = subprocess.run(words, env=others | ours, capture_output=True, text=True)
        if done.returncode or not made.exists():
            raise SystemExit(
                f"{done.stderr}\nno archive of Spark's classes was made, so each start of it takes "
                "5 s longer: `python -m userbert.local.class_archive` tries again"
            )


def run_jobs() -> None:
    """A night of a small lake, and the end of its JVM."""
    from pyspark import SparkContext

    from landing.synthetic.generate import Settings, generate_logs
    from spark_jobs.tables import browsing_logs, sessions, titles, user_sequences

    night = Settings(users=50, days=1, seed=0)
    generate_logs(night, Places.from_environment().root, workers=1)
    browsing_logs.main(night.from_day, night.from_day, allow_missing_days=False)
    titles.main()
    sessions.main()
    user_sequences.main(night.from_day + timedelta(days=1))
    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.proc.stdin.close()  # which the JVM waits for
    gateway.proc.wait()


if __name__ == "__main__":
    make_archive(ARCHIVE_FILE)
    print(f"made {ARCHIVE_FILE.name}, {ARCHIVE_FILE.stat().st_size >> 20} MiB")  # noqa: T201
