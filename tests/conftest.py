import os
from pathlib import Path

import pytest
from hypothesis import settings

# One small Spark for the whole run; the rest is as in production, from conf/spark-defaults.conf.
os.environ["SPARK_CONF_DIR"] = str(Path(__file__).parents[1] / "conf")
# Compiling a query to bytecode takes longer than these frames take to be computed (106 s of tests
# against 88 s); the commands that tests start by themselves run as in production.
# This JVM lives for minutes, so what is called 200 times need not be compiled at once: four files
# of tests took 134 and 139 CPU seconds, and 149 and 157 with Java's own thresholds.
os.environ["PYSPARK_SUBMIT_ARGS"] = (
    "--master local[2] --driver-memory 2g --conf spark.sql.shuffle.partitions=2 "
    '--driver-java-options "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC '
    "-XX:ReservedCodeCacheSize=192m "
    "-XX:Tier3InvocationThreshold=1000 -XX:Tier3MinInvocationThreshold=500 "
    '-XX:Tier3CompileThreshold=5000" '
    "--conf spark.sql.codegen.wholeStage=false --conf spark.sql.codegen.factoryMode=NO_CODEGEN "
    "--conf spark.ui.showConsoleProgress=false --conf spark.eventLog.enabled=false pyspark-shell"
)

# The same examples in each run. Reading a file takes long on a busy machine, so none is too slow.
settings.register_profile("short", max_examples=150, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=10_000, deadline=None, database=None)
settings.load_profile("short")

# The files that take longest, the longest first: begun last, one of them would run on alone.
LONG = (
    *("test_own_logs", "test_cluster", "test_forget", "test_backfill", "test_nights"),
    *("test_everybody", "test_as_known", "test_guide_commands", "test_object_store"),
)
LONG_TIMEOUT_S = 900  # of each of their tests; on a busy machine they took a third of it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` hands out whole files in this order (--no-loadscope-reorder)."""
    order = {f"{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        if item.path.name in order and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))


@pytest.fixture(scope="session")
def spark():
    from spark_jobs.spark.session import session

    with session("tests") as running:
        yield running


@pytest.fixture
def places(tmp_path):
    from contracts.paths import Places

    return Places(tmp_path)


@pytest.fixture
def lake(spark, places):
    from spark_jobs.lake.lake import Lake

    return Lake(spark, places.lake)
