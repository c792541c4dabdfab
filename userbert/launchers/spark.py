"""Pre-training as tasks of the Spark cluster, one process each, by pyspark's TorchDistributor.

Executors need what a training needs: this project and torch installed, and the folder at
USERBERT_DATA at the same path. Spark gives them the addresses of each other.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from contracts.errors import UserbertError
from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from userbert.launchers.settings import TrainingFailed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def train_on_spark(
    spark: "SparkSession", processes: int, flags: Sequence[str], places: Places
) -> str:
    """Train on the cluster of this session; the model's id.

    A task has as many threads as `spark.task.cpus` gives it cores, unless --threads says otherwise;
    and a GPU where the settings give tasks some.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    threads = str(spark.conf.get("spark.task.cpus", "1"))
    gpus = float(spark.conf.get("spark.task.resource.gpu.amount", "0") or 0)
    distributor = TorchDistributor(num_processes=processes, local_mode=False, use_gpu=gpus > 0)
    where = {"USERBERT_DATA": str(places.root), "USERBERT_LAKE": places.lake}
    done: Any = distributor.run(train_in_task, ["--threads", threads, *flags], where)
    message, exit_code = done
    if exit_code:
        raise TrainingFailed(message, exit_code)
    return str(message)


def train_in_task(flags: Sequence[str], where: dict[str, str]) -> tuple[str, int]:
    """Train in one task; returns the model's id and 0, or a message and its exit code.

    A refusal is returned, since the distributor would replace an exception by its own.
    """
    os.environ.update(where)
    from model.training.pretrain import run_pretraining

    try:
        return run_pretraining(**parse_options(run_pretraining, flags)).name, 0
    except UserbertError as error:
        return str(error), error.exit_code
    except typer.TyperException as error:
        return f"pretrain {' '.join(flags)}: {error.format_message()}", error.exit_code
