"""Which failed tasks are worth another try."""

import re
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

# What SparkSubmitOperator and BashOperator say of a command's exit code.
_EXIT_CODE = re.compile(r"(?:Error code is: |exit code )(\d+)")
_FINAL_CODES = {
    2: "bad input: trying again changes nothing",
    3: "a gate refused: mend the input, then clear the task",
    4: "a table or model is missing: make it, then clear the task",
}


class UnlessRefused(RetryPolicy):
    """Fail at once where `userbert` said that the input is at fault; else try again as usual."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Decide by the exit code in the exception's message (contracts/errors.py)."""
        code = _EXIT_CODE.search(str(exception))
        reason = _FINAL_CODES.get(int(code[1])) if code else None
        return RetryDecision.fail(reason) if reason else RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> "UnlessRefused":
        return cls()
