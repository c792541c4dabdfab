"""Where things lie: one root folder, and a name for each folder below it.

`USERBERT_DATA` names the root; without it, `data` below the working directory. A lake on an
object store is named by `USERBERT_LAKE` (say `s3a://bucket/lake`); all else stays on the disk.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folders of one installation. `lake` is text: perhaps an object store."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Places":
        return cls(Path(os.environ.get("USERBERT_DATA", "data")).absolute())

    @property
    def landing(self) -> Path:
        """Log files as they arrive: landing/YYYY-MM-DD/*, and landing/settings.toml."""
        return self.root / "landing"

    @property
    def lake(self) -> str:
        """The Delta tables, one folder each."""
        return os.environ.get("USERBERT_LAKE", str(self.root / "lake"))

    @property
    def models(self) -> Path:
        """Trained models, one folder a model_id: weights, manifest, vocabulary, logs."""
        return self.root / "models"

    @property
    def arrays(self) -> Path:
        """Memory-mapped training input, one folder a set of Delta versions; safe to delete."""
        return self.root / "arrays"

    @property
    def gates(self) -> Path:
        """What each gate found: gates/results/TABLE/RUN.json, and Data Docs in gates/docs."""
        return self.root / "gates"

    @property
    def feature_store(self) -> Path:
        """Feast's registry and online store."""
        return self.root / "feature_store"

    @property
    def neighbors(self) -> Path:
        """Copies of vectors for exact searches, one folder a set of vectors; safe to delete."""
        return self.root / "neighbours"

    @property
    def checked_files(self) -> Path:
        """Which data files were whole when they were last checked; safe to delete."""
        return self.root / "checked-files.json"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME of the embedded default."""
        return self.root / "airflow"

    @property
    def labels(self) -> Path:
        """Labels of users that the judge asks for: labels/NAME.csv or .parquet, and NAME.toml."""
        return self.root / "labels"

    @property
    def evaluations(self) -> Path:
        """What the judge made and found, one folder a run; safe to delete."""
        return self.root / "evaluations"

    @property
    def reports(self) -> Path:
        """Run reports: reports/KIND/NAME.html and .json, and reports/index.html."""
        return self.root / "reports"

    @property
    def steps(self) -> Path:
        """Which steps of tasks that have not ended are done, one file a task (userbert steps)."""
        return self.root / "steps"

    @property
    def event_logs(self) -> Path:
        """Spark's event logs, which its history server opens."""
        return self.root / "spark-events"
