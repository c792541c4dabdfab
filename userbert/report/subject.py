"""What a report is about: one night, history, backfill or training."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
    Table,
)
from expectations.results import file_name

_INGESTED = (BROWSING_LOGS, REJECTED_LOGS, TITLES, SESSIONS)
_EMBEDDED = (USER_SEQUENCES, USER_EMBEDDINGS)


@dataclass(frozen=True)
class _Kind:
    """The tables that such a run writes, and whether a model takes part in it."""

    tables: tuple[Table, ...]
    has_model: bool


_KINDS = {
    "night": _Kind((*_INGESTED, *_EMBEDDED, PUBLISHED_EMBEDDINGS), has_model=True),
    "history": _Kind(_INGESTED, has_model=False),
    "backfill": _Kind(_EMBEDDED, has_model=True),
    "training": _Kind((SEQUENCE_PAIRS, MODELS), has_model=True),
}
KIND_NAMES = tuple(_KINDS)


@dataclass(frozen=True)
class Subject:
    """`first` and `last` are landing days for a history, else as_of days, both included."""

    kind: str
    first: date
    last: date
    model_id: str | None = None  # None: the champion, or no model

    @property
    def tables(self) -> tuple[Table, ...]:
        return _KINDS[self.kind].tables

    @property
    def has_arrivals(self) -> bool:
        return BROWSING_LOGS in self.tables

    @property
    def has_model(self) -> bool:
        return _KINDS[self.kind].has_model

    @property
    def has_vectors(self) -> bool:
        return self.kind != "history"

    @property
    def as_of(self) -> date:
        """The last as_of day of the run; of a history the day after its last landing day."""
        return self.last + timedelta(days=1) if self.kind == "history" else self.last

    @property
    def landing_days(self) -> tuple[date, date]:
        """The first and the last landing day that the run read."""
        if self.kind == "history":
            return self.first, self.last
        return self.first - timedelta(days=1), self.last - timedelta(days=1)

    @property
    def name(self) -> str:
        """Names the report among those of its kind; a file's name."""
        if self.kind == "training":
            return self.model_id or "no-model"
        days = str(self.last) if self.first == self.last else f"{self.first}_{self.last}"
        return f"{days}_{self.model_id}" if self.kind == "backfill" and self.model_id else days

    @property
    def title(self) -> str:
        """What a person calls the run."""
        if self.kind == "night":
            return f"Night of {self.last}"
        if self.kind == "training":
            return f"Training of {self.model_id}"
        days = f"{self.first} to {self.last}"
        model = f" under {self.model_id}" if self.model_id else ""
        return f"History of {days}" if self.kind == "history" else f"Backfill of {days}{model}"

    def path(self, places: Places, suffix: str) -> Path:
        return places.reports / self.kind / f"{file_name(self.name)}{suffix}"
