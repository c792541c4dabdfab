"""An S3 server in a process of its own: delta-rs holds Python's lock while it waits for one."""

import subprocess
import sys
import time
from contextlib import contextmanager

import boto3

KEY_ID, SECRET = "AKIATESTTESTTEST", "a-secret-that-no-file-may-hold"


@contextmanager
def s3_server(log, bucket):
    """The environment that names the server, which has one bucket. `log` gets its requests."""
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as file:
        server = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
    try:
        endpoint = _endpoint(server, log)
        names = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        names |= {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "eu-west-1"}
        client(names).create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        yield names
    finally:
        server.terminate()
        server.wait()


def client(names):
    keys = {"aws_access_key_id": names["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": SECRET}
    region, endpoint = names["AWS_REGION"], names["AWS_ENDPOINT_URL"]
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, **keys)


def _endpoint(server, log):
    """The address that the server says, which has chosen a free port."""
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        if "http://127.0.0.1:" in (text := log.read_text()):
            return "http://127.0.0.1:" + text.partition("http://127.0.0.1:")[2].split()[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())
