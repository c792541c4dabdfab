"""The task that writes the report of a run, with a link to its page in Airflow's UI."""

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import BaseOperatorLink

from contracts.commands import USERBERT_COMMAND

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

    Both are templates. `then` is a command that follows.
    """

    template_fields: Sequence[str] = (*BashOperator.template_fields, "page")
    operator_extra_links = (_ReportLink(),)

    def __init__(self, *, options: str, page: str, then: str = "", **named: Any) -> None:
        follows = f" && {then}" if then else ""
        super().__init__(bash_command=f"{USERBERT_COMMAND} report {options}{follows}", **named)
        self.page = page
