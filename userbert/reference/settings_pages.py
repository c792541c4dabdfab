"""The reference of settings: files of TOML and variables of the environment, read from the code."""

import inspect
import re
from collections.abc import Iterator

from contracts.evaluation_settings import EvaluationSettings
from contracts.landing_settings import CsvDialect, LandingSettings, PseudonymSettings
from contracts.settings.embedding import EmbeddingSettings
from contracts.settings.retention import RetentionSettings
from expectations.days.bounds import DAY_MEASURES
from userbert.launchers.settings import PodSettings, TrainingSettings
from userbert.scheduling.landing_arrival import ArrivalSettings

ENVIRONMENT_VARIABLES = {
    "USERBERT_DATA": "the data root: landing files, lake, models, reports (./data without it)",
    "USERBERT_LAKE": "the lake's own address, for example s3a://bucket/lake, where it is not below "
    "the data root",
    "USERBERT_LANDING": "where landing files arrive on S3, for example s3a://bucket/landing; they "
    "are copied below the data root",
    "USERBERT_TRAINING": "a file in place of conf/training.toml",
    "USERBERT_EMBEDDING": "a file in place of conf/embedding.toml",
    "USERBERT_RETENTION": "a file in place of conf/retention.toml",
    "USERBERT_DOWNSTREAM": "a file in place of conf/downstream.toml",
    "USERBERT_EXPERIMENTS": "a file in place of conf/experiments.toml",
    "USERBERT_SCHEDULED_FROM": "an ISO time before which Airflow's clock starts nothing",
    "USERBERT_ALERT": "a command that gets the message of a failure on its standard input",
    "USERBERT_ALERT_EMAIL": "addresses that get it by mail, with commas between them; Airflow's "
    "[smtp] settings send it",
    "USERBERT_ALERT_WEBHOOK": 'an address that gets it as JSON, {"text": ...}; it is a secret',
    "USERBERT_GUIDES": "where these guides are read, for the links of messages",
    "USERBERT_PEERS": "the folder of other projects' environment, for the judge's rival CoLES",
    "USERBERT_UMASK": "who may read what the commands write; without it only the account itself",
    "USERBERT_CODE_VERSION": "the version that tables and results name, where there is no Git",
}
_FILES = (
    ("landing/settings.toml: how landing files are read", (LandingSettings,), "landing-files.md"),
    ("landing/settings.toml, [csv]", (CsvDialect,), "landing-files.md"),
    ("landing/settings.toml, [pseudonyms]", (PseudonymSettings,), "pseudonyms.md"),
    ("landing/arrival.toml: when a landing day is complete", (ArrivalSettings,), "airflow.md"),
    ("conf/embedding.toml: whom the nights embed", (EmbeddingSettings,), "backfill.md"),
    ("conf/retention.toml: how long data is kept", (RetentionSettings,), "privacy.md"),
    ("conf/training.toml: where trainings run", (TrainingSettings,), "training.md"),
    ("conf/training.toml, [kubernetes]", (PodSettings,), "training.md"),
    ("conf/downstream.toml: how vectors are judged", (EvaluationSettings,), "downstream.md"),
)
_FIELD = re.compile(
    r"^    (?P<name>[a-z]\w*): (?P<type>.+?)(?: = (?P<default>.+?))?(?:  # (?P<doc>.+))?$"
)


def settings_page() -> str:
    """Every setting, as Markdown."""
    return "\n".join(["# Settings\n", *_environment(), *_files(), *_gates()])


def _environment() -> Iterator[str]:
    yield "## Variables of the environment\n\n| variable | meaning |\n|---|---|"
    yield from (f"| `{name}` | {doc} |" for name, doc in ENVIRONMENT_VARIABLES.items())
    yield ""


def _files() -> Iterator[str]:
    for title, classes, guide in _FILES:
        yield f"## {title}\n\nExplained in [{guide}](../{guide}).\n"
        yield "| setting | kind | without it | meaning |\n|---|---|---|---|"
        for settings in classes:
            yield from _field_rows(settings)
        yield ""


def _field_rows(settings: type) -> Iterator[str]:
    """A row a field of a class, with the comment behind it or above it."""
    above: list[str] = []
    for line in inspect.getsource(settings).splitlines():
        if line.startswith("    # "):
            above.append(line.strip("# "))
            continue
        if line.startswith(("    def ", "    @")):
            return
        if field := _FIELD.match(line):
            doc = field["doc"] or " ".join(above)
            default = f"`{field['default']}`" if field["default"] else "required"
            kind = _cell(field["type"])
            yield f"| {field['name']} | `{kind}` | {_cell(default)} | {_cell(doc)} |"
        above = []


def _gates() -> Iterator[str]:
    yield "## landing/gates.toml: bounds of landing days\n"
    yield "Explained in [day-gates.md](../day-gates.md).\n"
    yield "| section | low | high | severity | what is measured |\n|---|---|---|---|---|"
    for each in DAY_MEASURES:
        bounds = " | ".join(
            "" if each_ is None else f"{each_:g}" for each_ in (each.low, each.high)
        )
        severity = "hard" if each.is_hard else "soft"
        yield f"| {each.name} | {bounds} | {severity} | {_cell(each.means)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
