"""The one batching writer: many changes, one commit; what costs is the disk's acknowledgement."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from pipeline.model.errors import BountyguardError, StoreError
from pipeline.stores.ledger import Ledger
from pipeline.stores.ledger_books import Books

T = TypeVar("T")
CHANGES_PER_COMMIT: Final = 100

_Job = tuple[Callable[[Books], Any], Future[Any]]


class Writer:
    """A thread that takes changes to the books one after the other; a caller gets a ``Future``.

    A change is acknowledged only after the commit that holds it. If a commit fails, each of its
    changes is tried alone, so that one cannot take the others down.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._closed = False
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive() and not self._closed

    def submit(self, change: Callable[[Books], T]) -> "Future[T]":
        """Queue a change. Its future gives the result, or the error that refused it."""
        if self._closed:
            raise StoreError("store.closing", "the ledger is closing: try again")
        future: Future[T] = Future()
        self._queue.put((change, future))
        return future

    def close(self) -> None:
        """Do what is queued, then end."""
        self._closed = True
        self._queue.put(None)
        self._thread.join(timeout=30)

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            if job is None:
                return
            jobs, last = [job], False
            while len(jobs) < CHANGES_PER_COMMIT:
                try:
                    following = self._queue.get_nowait()
                except Empty:
                    break
                if following is None:
                    last = True
                    break
                jobs.append(following)
            self._commit([j for j in jobs if j[1].set_running_or_notify_cancel()])
            if last:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            results = self._ledger.run_all([change for change, _ in jobs])
        except (sa.exc.SQLAlchemyError, BountyguardError, AssertionError) as error:
            if len(jobs) == 1:
                jobs[0][1].set_exception(_told(error))
                return
            for job in jobs:
                self._commit([job])
            return
        for (_, future), result in zip(jobs, results, strict=True):
            if isinstance(result, BountyguardError):
                future.set_exception(result)
            else:
                future.set_result(result)


def _told(error: Exception) -> Exception:
    if isinstance(error, sa.exc.SQLAlchemyError):
        return StoreError(
            "store.refused", f"the database refused the change: {type(error).__name__}"
        )
    return error
