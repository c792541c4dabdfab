"""The Spark session of a job.

What differs by place (master, jars, memory) is in conf/spark-defaults.conf, or comes from the
spark-submit that started this process; only what the results depend on is set here.
"""

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

CONF = Path(__file__).parents[1] / "conf"


def session(job: str) -> SparkSession:
    """The session of `job`: the one that runs, or a new one.

    All times are UTC. The executors run the interpreter of the driver, unless told otherwise.
    """
    os.environ.setdefault("SPARK_CONF_DIR", str(CONF))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return (
        SparkSession.builder.appName(job)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", True)
        .getOrCreate()
    )
