"""The task that writes the report of a run, with a link to its page in Airflow's UI.

A run that fails does not come to that task: the callback of the failed task writes its report.
"""

import copy
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperatorLink

from contracts.commands import USERBERT_COMMAND

_REPORT_SECONDS = 60  # that a report of a failed run may take; two are usual
REPORT_DOC = "Writes the run's page; the button Run report opens it. Its failure changes no data."
PAGES_ADDRESS = "/userbert"  # of Airflow's API server: the plugin serves the pages there


def days_name(first: str, last: str) -> str:
    """A template for how a report of several days is named, out of two expressions of Jinja."""
    return f"{{{{ {first} if {first} == {last} else {first} ~ '_' ~ {last} }}}}"


class _ReportLink(BaseOperatorLink):
    """A button on the task's page. Airflow asks for its address when the task has ended."""

    name = "Run report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        from airflow.sdk.configuration import conf

        server = conf.get("api", "base_url", fallback="").rstrip("/")
        return f"{server}{PAGES_ADDRESS}/reports/{operator.page}.html"


class ReportOperator(BashOperator):
    """`userbert report` with `options`; `page` is KIND/NAME, as the command names its file.

    Both are templates. `then` is a command of `userbert` that follows in the same process.
    """

    template_fields: Sequence[str] = (*BashOperator.template_fields, "page", "report_command")
    operator_extra_links = (_ReportLink(),)

    def __init__(self, *, options: str, page: str, then: str = "", **named: Any) -> None:
        self.page = page
        self.report_command = f"{USERBERT_COMMAND} report {options}"
        both = f"{USERBERT_COMMAND} steps 'report {options}' '{then}'"
        super().__init__(bash_command=both if then else self.report_command, **named)


def report_failed_run(context: Any) -> str:
    """Write the report of a run one of whose tasks has failed; its address, or why there is none.

    It shows what the failed gate saw next to the days before.
    """
    report = next((t for t in context["dag"].tasks if isinstance(t, ReportOperator)), None)
    if report is None or context["ti"].task_id == report.task_id:
        return ""
    report = copy.copy(report)
    report.render_template_fields(context)
    command = ["bash", "-c", report.report_command]
    environ = {**os.environ, **(report.env or {})}
    try:
        subprocess.run(
            command, env=environ, timeout=_REPORT_SECONDS, check=True, capture_output=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"no report was written: {error}"
    return _ReportLink().get_link(report, ti_key=None)
