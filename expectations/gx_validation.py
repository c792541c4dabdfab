"""Great Expectations' part: judging the one-row frame of measures.

Importing it costs about five CPU seconds, so a thread does that while Spark measures, and nothing
here imports it before it is called. It is kept from the network: no analytics.
"""

import importlib
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from contracts.tables import Table
from expectations.suites import Expected

if TYPE_CHECKING:
    import great_expectations as gx
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )


@cache
def import_early() -> threading.Thread:
    """Start importing Great Expectations; whoever needs it waits for the import's own lock."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    thread = threading.Thread(target=_try_to_import, daemon=True)
    thread.start()
    return thread


def _try_to_import() -> None:
    """Where it fails, whoever needs it imports it once more, and says why it cannot be."""
    with suppress(Exception):
        importlib.import_module("great_expectations")


def _expectation_suite(table: Table, wanted: Sequence[Expected]) -> "gx.ExpectationSuite":
    """The suite of a table: an expectation a measure, with its meaning as the note."""
    import_early().join()
    import great_expectations as gx
    from great_expectations.expectations.core.expect_column_values_to_be_between import (
        ExpectColumnValuesToBeBetween,
    )
    from great_expectations.expectations.core.expect_column_values_to_not_be_null import (
        ExpectColumnValuesToNotBeNull,
    )

    bounds = [
        ExpectColumnValuesToBeBetween(
            column=e.measure, min_value=e.least, max_value=e.most, notes=e.says
        )
        for e in wanted
    ]
    # A measure that could not be taken is null, and bounds say nothing of nulls.
    taken = [
        ExpectColumnValuesToNotBeNull(column=e.measure, notes="it can be measured")
        for e in wanted
        if not e.breaks
    ]
    return gx.ExpectationSuite(name=table.name, expectations=[*bounds, *taken])


def validate_measures(
    table: Table, run: str, wanted: Sequence[Expected], measures: Mapping[str, float]
) -> "ExpectationSuiteValidationResult":
    """What Great Expectations says of the measures of one frame."""
    asked = _expectation_suite(table, wanted)
    import pandas as pd
    from great_expectations.core.run_identifier import RunIdentifier

    row = pd.DataFrame([{e.measure: float(measures[e.measure]) for e in wanted}])
    assets = _context().data_sources.add_or_update_pandas("measures")
    asset = assets.add_dataframe_asset(table.name)
    batch = asset.add_batch_definition_whole_dataframe(run).get_batch({"dataframe": row})
    judged = batch.validate(asked, result_format="BASIC")
    judged.suite_name = table.name
    judged.meta["run_id"] = RunIdentifier(run_name=run)
    return judged


def failed_measures(judged: "ExpectationSuiteValidationResult") -> set[str]:
    """An expectation that could not be evaluated has failed too."""
    return {
        str(result.expectation_config.kwargs["column"])
        for result in judged.results
        if not result.success and result.expectation_config is not None
    }


@cache
def _context() -> "AbstractDataContext":
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context
