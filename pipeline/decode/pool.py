"""A decoder whose work is done in a child process that may die without harm.

The child is started, never forked (a forked child of a process that runs polars hangs), kept for
many files (starting one costs a tenth of a second), replaced when it dies or overstays, and ends with
its parent.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pipeline.decode import looking, shapes, wire
from pipeline.decode.limits import DEFAULT, Limits
from pipeline.model.errors import ContentError
from pipeline.ports import Document, Picture, Probe

_PIPE_BYTES: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
_CODES: Final = frozenset(
    {
        "blob.empty", "blob.polyglot", "blob.timeout", "blob.too_large", "blob.unreadable",
        "blob.wrong_type",
    }
)  # fmt: skip


class _Gone(Exception):
    """The child died, or spoke out of turn, while it was looking at a file."""


class _Child:
    """One running child and the two pipes to it."""

    def __init__(self, limits: Limits) -> None:
        root = str(Path(__file__).resolve().parents[2])
        places = [root, *(p for p in sys.path if p and p != root)]
        self.limits = limits
        self.owner = os.getpid()
        self.served = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.decode.child", json.dumps(asdict(limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(places), "PYTHONHASHSEED": "0"},
            bufsize=0,
            close_fds=True,
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("both pipes were asked for")
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        for number in (self._to, self._from):
            os.set_blocking(number, False)
            _widen(number)
        self._selector = selectors.DefaultSelector()

    def ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
        """Send a question and return head and body of the answer.

        Raises ``ContentError('blob.timeout')`` or ``_Gone``; the child is of no use after either.
        """
        deadline = time.monotonic() + self.limits.wall_s
        try:
            self._write(wire.pack(question, len(data)), deadline)
            self._write(data, deadline)
            prefix = self._read(wire.PREFIX.size, deadline)
            head_bytes, body_bytes = wire.PREFIX.unpack(prefix)
            if head_bytes > wire.HEAD_BYTES_MAX or body_bytes > _body_bytes_max(self.limits):
                raise _Gone("the answer is longer than any can be")
            head = wire.unpack_head(bytes(self._read(head_bytes, deadline)))
            body = self._read(body_bytes, deadline)
        except (BrokenPipeError, ConnectionResetError, ValueError) as error:
            raise self._died() from error
        self.served += 1
        return head, body

    def _write(self, data: bytes, deadline: float) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(self._to, selectors.EVENT_WRITE, deadline)
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._to, rest) :]

    def _read(self, count: int, deadline: float) -> memoryview:
        buffer = bytearray(count)
        view, filled = memoryview(buffer), 0
        while filled < count:
            self._wait(self._from, selectors.EVENT_READ, deadline)
            got = os.readv(self._from, [view[filled:]])
            if not got:
                raise self._died()
            filled += got
        return view.toreadonly()

    def _wait(self, number: int, event: int, deadline: float) -> None:
        self._selector.register(number, event)
        try:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
        finally:
            self._selector.unregister(number)
        if not ready:
            raise ContentError("blob.timeout", f"not done after {self.limits.wall_s:.0f} s")

    def _died(self) -> Exception:
        """Tell why the child ended: out of CPU seconds is the file's doing, all else may not be."""
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return _Gone("the child closed its pipe")
        if status == -signal.SIGXCPU:
            return ContentError("blob.timeout", "needs more CPU seconds than are allowed")
        return _Gone(f"the child ended with status {status}")

    def close(self) -> None:
        """End the child and wait for it; the child of a forked parent is left alone."""
        self._selector.close()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


class PooledDecoder:
    """``Decoder`` by a pooled child; safe to share between threads, which take turns.

    Can be pickled: the copy starts a child of its own. Close it, or use it as a context manager;
    what is left open is closed when it is forgotten or the interpreter ends.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._end: Callable[[], object] = lambda: None

    def __reduce__(self) -> tuple[type["PooledDecoder"], tuple[Limits]]:
        return type(self), (self._limits,)

    def __enter__(self) -> "PooledDecoder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child. A later question starts another."""
        with self._lock:
            self._drop()

    def probe(self, data: bytes, claim: str | None = None) -> Probe:
        """Decide the media type from the bytes and check that they can be decoded."""
        head, _ = self._ask({"ask": "probe", "claim": claim}, data)
        with _well_formed():
            facts = head["facts"]
            width, height, count = (
                None if facts.get(name) is None else int(facts[name])
                for name in ("width", "height", "frame_count")
            )
            kind = str(facts["media_type"])
        return Probe(media_type=kind, width=width, height=height, frame_count=count)

    def pictures(
        self, data: bytes, *, side_max: int, frames_max: int = 8, grey: bool = False
    ) -> tuple[Picture, ...]:
        """Decode at a reduced scale whose longer side is at most ``side_max`` pixels."""
        shapes.check_ask(side_max, frames_max, self._limits)
        question = {
            "ask": "pictures", "side_max": side_max, "frames_max": frames_max, "grey": grey,
        }  # fmt: skip
        head, body = self._ask(question, data)
        shown, at = [], 0
        with _well_formed():
            for width, height, scale, index in head["frames"]:
                size = width * height * (1 if grey else 3)
                part = body[at : at + size]
                shown.append(shapes.picture(part, width, height, scale, index, grey=grey))
                at += size
        return tuple(shown)

    def document(self, data: bytes, media_type: str) -> Document:
        """Extract the text and embedded pictures; ``media_type`` is a claim, the bytes decide."""
        head, body = self._ask({"ask": "document"}, data)
        parts, at = [], 0
        with _well_formed():
            for size in (*head["pages"], *head["pictures"]):
                parts.append(bytes(body[at : at + size]))
                at += size
            cut = len(head["pages"])
            pages = tuple(page.decode() for page in parts[:cut])
        return Document(pages=pages, pictures=tuple(parts[cut:]))

    def _ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
        looking.check_size(data, self._limits)
        with self._lock:
            head, body = self._try(question, data)
        error = head.get("error")
        if error is not None:
            with _well_formed():
                code, message = error
            raise ContentError(code if code in _CODES else "blob.unreadable", str(message))
        return head, body

    def _try(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
        """Ask; once more of a fresh child where a used one died or ran out of memory.

        An earlier file, or the system's own shortage, may be to blame for that, and a file must
        not be refused for what another did.
        """
        while True:
            child = self._running()
            used = child.served > 0
            try:
                head, body = child.ask(question, data)
            except ContentError:
                self._drop()
                raise
            except _Gone as gone:
                self._drop()
                if not used:
                    raise ContentError("blob.unreadable", f"decoding failed: {gone}") from gone
                continue
            if not head.get("spent"):
                return head, body
            self._drop()
            if not used:
                return head, body

    def _running(self) -> _Child:
        if self._child is not None and self._child.owner != os.getpid():
            self._drop()
        if self._child is None:
            self._child = _Child(self._limits)
            self._end = weakref.finalize(self, self._child.close)
        return self._child

    def _drop(self) -> None:
        self._child = None
        self._end()


@contextlib.contextmanager
def _well_formed() -> Iterator[None]:
    """Refuse an answer that is not shaped as answers are: the child may have been taken over."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ContentError("blob.unreadable", "the decoder gave no proper answer") from error


def _body_bytes_max(limits: Limits) -> int:
    return 3 * limits.pixels_total_max + 4 * limits.text_chars_max + limits.picture_bytes_max


def _widen(pipe: int) -> None:
    """Let a picture pass through the pipe in few turns; systems without the call go without."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
