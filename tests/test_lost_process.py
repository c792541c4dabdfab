"""Too little memory and a Java that ended are one line each, whoever runs into them."""

import subprocess
import sys
import urllib.request

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import torch
from py4j.java_gateway import GatewayParameters, JavaGateway
from pyspark.errors import PySparkRuntimeError

from contracts.terminal.error_codes import code_of
from contracts.terminal.lost_process import JavaEnded, LittleMemory, lost_process_named

HUGE = 1 << 60


def by_duckdb():
    with duckdb.connect(config={"memory_limit": "1MB", "temp_directory": ""}) as connection:
        connection.execute("SELECT list(i) FROM range(10_000_000) t(i)").fetchall()


def by_a_cause():
    try:
        np.empty(HUGE, np.int8)
    except MemoryError as error:
        raise RuntimeError("the step was not trained") from error


@pytest.mark.parametrize(
    "ask",
    [
        lambda: np.empty(HUGE, np.int8),
        lambda: pa.allocate_buffer(HUGE),
        lambda: torch.empty(HUGE, dtype=torch.int8),
        by_duckdb,
        by_a_cause,
    ],
)
def test_too_little_memory_is_named_whoever_asks(ask):
    with (
        pytest.raises(LittleMemory, match=r"^there is too little memory: .+\. What") as e,
        lost_process_named(),
    ):
        ask()
    assert "\n" not in str(e.value)
    assert code_of(e.value) == "UB-904"


@pytest.mark.parametrize(
    "words",
    [
        "java.lang.OutOfMemoryError: Java heap space\n\tat java.base",
        "java.lang.IllegalArgumentException: System memory 209715200 must be at least 471859200. "
        "Please increase heap size",
    ],
)
def test_what_java_says_of_memory_is_named(words):
    found = pytest.raises(LittleMemory, match=r"Error: Java heap space|must be at least")
    with found, lost_process_named():
        raise RuntimeError(f"An error occurred while calling o1.count.\n: {words}")


def test_a_java_that_does_not_answer_is_named_and_another_server_is_not():
    nobody = JavaGateway(gateway_parameters=GatewayParameters(port=9))
    with pytest.raises(JavaEnded, match="while it was at work") as error, lost_process_named():
        nobody.jvm.System.nanoTime()
    assert code_of(error.value) == "UB-905"
    with pytest.raises(JavaEnded, match="did not start"), lost_process_named():
        raise PySparkRuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited")
    with pytest.raises(OSError, match="refused"), lost_process_named():
        urllib.request.urlopen("http://127.0.0.1:9", timeout=5)
    with pytest.raises(ValueError, match="memory"), lost_process_named():
        raise ValueError("the form memory has no window")


def test_a_command_under_a_limit_ends_in_one_line_and_code_1():
    code = (
        "import resource, sys\n"
        "from contracts.terminal.command_line import build_command, run_command\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "command = build_command(lambda: len(bytearray(1 << 31)), None)\n"
        "sys.exit(run_command(command, [], 'userbert'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("userbert: UB-904: there is too little memory: Python got no more. What")
