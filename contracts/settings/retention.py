"""How long each kind of data is kept: conf/retention.toml, or USERBERT_RETENTION's file."""

import os
from dataclasses import dataclass, fields
from pathlib import Path

from contracts.commands import CONF_FOLDER
from contracts.errors import BadInput
from contracts.limits import PRETRAINING_DAYS
from contracts.settings.embedding import EmbeddingSettings
from contracts.storage.toml_files import broken_rules, is_count, read_toml

_DEFAULT_FILE = CONF_FOLDER / "retention.toml"


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    """Days that data is kept; 0 is for ever."""

    landing_days: int = 0  # folders of landing days that are ingested
    refused_days: int = 0  # rows of rejected_logs, once their landing folder is gone
    views_days: int = 0  # rows of browsing_logs and sessions, before the newest view
    older_versions_days: int = 30  # replaced files of tables
    event_logs_days: int = 0  # Spark's event logs
    task_logs_days: int = 0  # Airflow's logs of tasks
    gate_results_days: int = 0  # results of gates; the newest of a table stays
    reports_days: int = 0  # pages and figures of reports

    @classmethod
    def read(cls, path: Path, window_days: int) -> "RetentionSettings":
        """The settings in `path`, or `BadInput` with everything that is wrong with them."""
        values = read_toml(path)
        rule = ("a whole number of days, or 0 for ever", is_count)
        wrong = broken_rules(values, {field.name: rule for field in fields(cls)})
        if not wrong:
            settings = cls(**values)
            wrong = settings._contradictions(max(window_days, PRETRAINING_DAYS))
        if wrong:
            raise BadInput(f"{path}: {'; '.join(wrong)}")
        return settings

    @classmethod
    def from_environment(cls) -> "RetentionSettings":
        path = Path(os.environ.get("USERBERT_RETENTION", _DEFAULT_FILE))
        return cls.read(path, EmbeddingSettings.from_environment().window_days)

    def _contradictions(self, needed_days: int) -> list[str]:
        """What would take from readers what they need."""
        wrong = []
        if 0 < self.views_days < needed_days:
            wrong.append(
                f"views_days is {self.views_days}; the window and trainings read {needed_days} days"
            )
        for name in ("refused_days", "views_days"):
            days = int(getattr(self, name))
            if days and not 0 < self.landing_days <= days:
                wrong.append(
                    f"{name} is {days} and landing_days {self.landing_days}: landing files must "
                    "go first, or an ingest of their day would bring the rows back"
                )
        if not self.older_versions_days:
            wrong.append("older_versions_days is 0; it must be 1 or more")
        return wrong
