"""Parts of a round done by other processes, of this machine or of a cluster: ``pipeline.rounds.Hands``.

A process is told a step's name and who is in the part. It opens the stores by its own settings, does the
step, writes what it found to the stores, and answers with the key: names and paths travel, frames never.
Every answer is written under a name made from its content, so a part that is done twice, because a
process was killed, changes nothing.
"""

import atexit
import io
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec
import polars as pl

from detectors.registry import detectors as registered
from pipeline.bootstrap import House, open_house
from pipeline.ports import Detector
from pipeline.rounds import Decided, OwnHands, Part
from pipeline.settings import Settings
from pipeline.stages.detect import Found

PASSING: Final = "passing"
"""Keys of what is on its way begin so. No row names it: ``Segments.sweep`` removes leftovers."""


class Answer(Protocol):
    """What ``submit`` returns: a future."""

    def result(self) -> Any:
        """Wait and return what the process answered, or raise what it raised."""
        ...


Submit = Callable[[str, Part], Answer]
"""(step, part) to the answer of ``do(settings, step, part)`` somewhere."""


def do(settings: Settings, step: str, part: Part) -> Any:
    """Do one step of a part in this process: ``fingerprint``, ``look`` or ``decide``."""
    house = _house(settings)
    bench = replace(house.bench(), detectors=_detectors())
    return _STEPS[step](house, OwnHands(house.work, house.known, bench), part)


def _fingerprint(house: House, hands: OwnHands, part: Part) -> Any:
    return next(hands.fingerprint([part]))[1]


def _look(house: House, hands: OwnHands, part: Part) -> str:
    found = next(hands.look([part]))[1]
    return _pass_on(house, _frames(found))


def _decide(house: House, hands: OwnHands, part: Part) -> str:
    found, assessments = next(hands.decide([part]))[1]
    return _pass_on(house, [*_frames(found), assessments])


_STEPS: Final[Mapping[str, Callable[[House, OwnHands, Part], Any]]] = {
    "fingerprint": _fingerprint, "look": _look, "decide": _decide,
}  # fmt: skip


class SpreadHands:
    """Gives parts out to other processes; whom an arrival touches is asked here, once a round."""

    def __init__(self, house: House, own: OwnHands, submit: Submit) -> None:
        self._house = house
        self._own = own
        self._submit = submit

    def fingerprint(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Any]]:
        """Write fingerprints elsewhere; give what names them."""
        return self._answers("fingerprint", parts)

    def reach(self, part: Part) -> frozenset[str]:
        """Name whom this arrival touches."""
        return self._own.reach(part)

    def look(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Found]]:
        """Ask the detectors that look first, elsewhere."""
        for part, key in self._answers("look", parts):
            with self._taken(key) as frames:
                yield part, Found(*frames)

    def decide(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Decided]]:
        """Ask those that read others' findings, score and decide, elsewhere."""
        for part, key in self._answers("decide", parts):
            with self._taken(key) as frames:
                yield part, (Found(*frames[:3]), frames[3])

    def _answers(self, step: str, parts: Iterable[Part]) -> Iterator[tuple[Part, Any]]:
        under_way = [(part, self._submit(step, part)) for part in parts]
        for part, answer in under_way:
            yield part, answer.result()

    @contextmanager
    def _taken(self, key: str) -> Iterator[list[pl.DataFrame]]:
        """Read what was passed on; remove it once the reader has written it down."""
        objects = self._house.segments.objects
        packed = msgspec.msgpack.decode(objects.get(key), type=list[bytes])
        yield [pl.read_ipc(io.BytesIO(data)) for data in packed]
        objects.remove(key)


@contextmanager
def pool_of(settings: Settings) -> Iterator[Submit]:
    """Processes of this machine, ``settings.workers`` of them. They are spawned: polars hangs forked."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(settings.workers, mp_context=spawn) as pool:
        yield lambda step, part: pool.submit(do, settings, step, part)


_local = threading.local()


def _house(settings: Settings) -> House:
    """Open the stores once a thread: a decoder's child and the indexes are worth keeping."""
    kept: tuple[Settings, House, ExitStack] | None = getattr(_local, "kept", None)
    if kept is not None and kept[0] == settings:
        return kept[1]
    if kept is not None:
        kept[2].close()
    stack = ExitStack()
    house = stack.enter_context(open_house(settings))
    atexit.register(stack.close)
    _local.kept = (settings, house, stack)
    return house


@cache
def _detectors() -> tuple[Detector, ...]:
    """The detectors of this process: what they remember of a window serves its next part too."""
    return registered()


def _frames(found: Found) -> list[pl.DataFrame]:
    return [found.signals, found.abstentions, found.ran]


def _pass_on(house: House, frames: Sequence[pl.DataFrame]) -> str:
    packed = []
    for frame in frames:
        buffer = io.BytesIO()
        frame.write_ipc(buffer)
        packed.append(buffer.getvalue())
    data = msgspec.msgpack.encode(packed)
    key = f"{PASSING}/{sha256(data).hexdigest()[:32]}"
    house.segments.objects.put(key, data)
    return key
