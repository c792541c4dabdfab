"""One driver at a time writes a table on S3: each table has a lock object.

Delta's store for s3a:// keeps the commits of one driver in order. Of two drivers that commit the
same version, the second takes the place of the first without an error (docs/adr/0060). On a disk
Delta sees to it, and no lock is taken.

The object says who holds the lock. Its holder writes it anew every few seconds, and a job that
waits takes the lock when the object has stayed the same for the lease, by the waiting job's own
clock: the clocks of two machines are never compared. Each change is "create, unless it exists" or
"replace, if it still is what I read", so of two that try at the same instant one gets it.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession

from contracts.errors import BadInput, UserbertError
from contracts.provenance import run_name
from contracts.storage.object_store import is_on_s3
from spark_jobs.spark.object_client import ObjectClient
from spark_jobs.spark.step import running_step

LEASE_S = 60.0  # without a sign of life, after which another job may take the lock
_BEATS_A_LEASE = 6
_POLL_S = 1.0
_LOCKS_FOLDER = "_locks"  # below the lake's root, beside the tables
_MISSING = 404
# Of a PUT whose condition does not hold, or that comes at the same instant as another.
_REFUSED = (_MISSING, 409, 412)


class _LockLost(UserbertError):
    """Another job took the lock: this one gave no sign of life for the whole lease."""


@dataclass(frozen=True)
class LockObject:
    """The object at `path`."""

    spark: SparkSession
    path: str

    @cached_property
    def _store(self) -> ObjectClient:
        return ObjectClient(self.spark, self.path)

    def read(self) -> tuple[dict[str, Any], str]:
        """What it says, and its etag, by which it is replaced. Nothing where it does not exist."""
        request = self._store.request("GetObjectRequest", key=self._store.key)
        try:
            answer = self._store.sdk.getObjectAsBytes(request)
        except Py4JJavaError as error:
            if _status(error) == _MISSING:
                return {}, ""
            raise
        return json.loads(answer.asUtf8String()), str(answer.response().eTag())

    def write(self, content: dict[str, Any], etag: str) -> str:
        """Replace the object that has `etag`, or create it where `etag` is empty; the new etag.

        Nothing is written, and the etag is empty, where it is another one by now, or exists.
        """
        condition = {"ifMatch": etag} if etag else {"ifNoneMatch": "*"}
        request = self._store.request("PutObjectRequest", key=self._store.key, **condition)
        try:
            answer = self._store.sdk.putObject(request, self._store.body(json.dumps(content)))
        except Py4JJavaError as error:
            if _status(error) in _REFUSED:
                return ""
            raise
        return str(answer.eTag())


def _status(error: Py4JJavaError) -> int:
    """The store's answer; 0 where it gave none."""
    java = error.java_exception
    return int(java.statusCode()) if hasattr(java, "statusCode") else 0


@dataclass
class TableLock:
    """The lock on one table, for this process; its threads hold it together."""

    place: LockObject
    table: str
    owner: str
    lease_s: float = LEASE_S
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _etag: str = ""
    _beat: int = 0
    _one_put: threading.Lock = field(default_factory=threading.Lock)
    _released: threading.Event = field(default_factory=threading.Event)

    def acquire(self) -> None:
        """Returns when the lock is ours. Says once for whom it waits."""
        seen, since, said = "", 0.0, ""
        while True:
            held, etag = self.place.read()
            if etag != seen:
                seen, since = etag, time.monotonic()
            is_stale = time.monotonic() - since >= held.get("lease_s", self.lease_s)
            if (not held.get("owner") or is_stale) and self._put(etag):
                break
            if held.get("owner") and not said:
                said = f"waiting for the table {self.table}: {held['owner']} is writing it\n"
                sys.stderr.write(said)
                sys.stderr.flush()
            time.sleep(min(_POLL_S, self.lease_s / _BEATS_A_LEASE))
        self._store_must_refuse()
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def release(self) -> None:
        """Let others have it; `_LockLost` where somebody has taken it."""
        self._released.set()
        if not self._put(owner=""):
            raise _LockLost(
                f"{self.table}: this job gave no sign of life for {self.lease_s:.0f} s, so another "
                "took its lock and may have written meanwhile: run `userbert audit`, and this job "
                "again"
            )

    def _put(self, etag: str | None = None, owner: str | None = None) -> bool:
        """Write the object as ours, or with an empty `owner` as nobody's; False: it is another's.

        It takes the place of the object that has `etag`, by default of the one that we wrote last.
        A PUT that was sent twice, since its answer was lost, is refused although it is there: then
        what the object says decides.
        """
        with self._one_put:
            self._beat += 1
            mine = {"token": self._token, "beat": self._beat}
            owner = self.owner if owner is None else owner
            content = {"owner": owner, "lease_s": self.lease_s, **mine}
            written = self.place.write(content, self._etag if etag is None else etag)
            if not written:
                held, found = self.place.read()
                written = found if mine.items() <= held.items() else ""
            self._etag = written or self._etag
            return bool(written)

    def _keep_alive(self) -> None:
        """Renew the lock until it is released, or another job has it; `release` finds that out."""
        while not self._released.wait(self.lease_s / _BEATS_A_LEASE):
            try:
                if not self._put():
                    return
            except Py4JJavaError as error:  # the store does not answer: try again
                sys.stderr.write(f"the lock on {self.table} was not renewed: {error}\n")

    def _store_must_refuse(self) -> None:
        """A store that does not know conditions would let any number of jobs have the lock."""
        if self.place.write({"owner": self.owner}, ""):
            raise BadInput(
                f"the store of {self.place.path} ignores If-None-Match: of two jobs that write a "
                "table at the same time, one would silently lose its rows. Use a store with "
                "conditional writes (docs/object-store.md)"
            )


_held: dict[str, tuple[TableLock, int]] = {}  # by the object's path: the lock, and how many hold it
_guards: dict[str, threading.Lock] = {}


@contextmanager
def table_lock(spark: SparkSession, root: str, table: str) -> Iterator[None]:
    """In here no other driver writes `table` below `root`, where that is on S3."""
    if not is_on_s3(root):
        yield
        return
    path = f"{root}/{_LOCKS_FOLDER}/{table}.json"
    guard = _guards.setdefault(path, threading.Lock())
    with guard:
        _enter(spark, path, table)
    try:
        yield
    finally:
        with guard:
            _leave(path)


def _enter(spark: SparkSession, path: str, table: str) -> None:
    lock, number = _held.get(path, (None, 0))
    if lock is None:
        lock = TableLock(LockObject(spark, path), table, _owner(spark))
        lock.acquire()
    _held[path] = lock, number + 1


def _leave(path: str) -> None:
    lock, number = _held.pop(path)
    if number > 1:
        _held[path] = lock, number - 1
    else:
        lock.release()


def _owner(spark: SparkSession) -> str:
    """For whom another job waits, in words."""
    return f"{running_step(spark)} ({run_name()}; {socket.gethostname()}, process {os.getpid()})"
