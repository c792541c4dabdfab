"""Check the machine, the settings, the lake and what runs, and name the next command.

userbert doctor [--json]

One line a check: fine, a note, or a fault with what mends it. Exit code 1 says that there is a
fault. Nothing is changed, and Spark is not started.
"""

import json as jsonlib
import sys
from dataclasses import asdict

import typer

from contracts.paths import Places
from contracts.terminal.options import AsJson
from contracts.terminal.printing import print_parts
from userbert.doctor.finding import FAULT, NOTE, Finding
from userbert.doctor.lake import check_lake, known_days, next_command
from userbert.doctor.machine import check_machine
from userbert.doctor.serving import check_serving, registered_models

_NAME_WIDTH = 16  # characters of a check's name


def _examine(places: Places) -> tuple[list[Finding], str]:
    """The findings, in the order of the checks, and what to run next."""
    days, models = known_days(places), registered_models(places)
    findings = [
        *check_machine(places),
        *check_lake(places, days),
        *check_serving(places, models),
    ]
    faults = [finding.to_do for finding in findings if finding.level == FAULT and finding.to_do]
    has_champion = any(row["status"] == "champion" for row in models)
    return findings, faults[0] if faults else next_command(days, has_champion)


def main(json: AsJson = False) -> None:
    findings, next_step = _examine(Places.from_environment())
    num_faults = sum(finding.level == FAULT for finding in findings)
    if json:
        answer = {"findings": [asdict(each) for each in findings], "next": next_step}
        sys.stdout.write(jsonlib.dumps(answer, indent=2) + "\n")
    else:
        print_parts(*map(_line, findings), _closing_line(num_faults, next_step))
    if num_faults:
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    level = finding.level.upper() if finding.level == FAULT else finding.level
    to_do = f" -> {finding.to_do}" if finding.to_do and finding.level in (NOTE, FAULT) else ""
    return f"{level:6}{finding.check:{_NAME_WIDTH}}{finding.says}{to_do}"


def _closing_line(num_faults: int, next_step: str) -> str:
    noun = "1 fault" if num_faults == 1 else f"{num_faults} faults"
    counted = noun if num_faults else "no fault"
    return f"{counted}; next: {next_step or 'nothing, the newest night is published'}"
