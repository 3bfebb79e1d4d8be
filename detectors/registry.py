"""Which detectors there are, in the order of the line: one line a room."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Final, Protocol, runtime_checkable

from pipeline.ports import Detector

ROOMS: Final[tuple[str, ...]] = (
    "detectors.file",
    "detectors.text",
    "detectors.image",
    "detectors.watermark",
    "detectors.trajectory",
    "detectors.identity",
    "detectors.collusion",
)


@runtime_checkable
class Fitted(Protocol):
    """A room whose fingerprints, and so its version, rest on something that was trained."""

    def fitted(self, asset: Callable[[str], bytes | None]) -> Detector:
        """Return the detector as those assets make it."""
        ...


def fitted(
    rooms: tuple[Detector, ...], asset: Callable[[str], bytes | None]
) -> tuple[Detector, ...]:
    """Return the same detectors, each as the house's own assets make it."""
    return tuple(d.fitted(asset) if isinstance(d, Fitted) else d for d in rooms)


@cache
def detectors(rooms: tuple[str, ...] = ROOMS) -> tuple[Detector, ...]:
    """Load the rooms, each once; a room is a module with an attribute ``detector``.

    Order is kept, except that a room comes after those it names in ``spec.after``. Raises
    ``ValueError`` where two rooms share a name or a room waits for one that is not there.
    """
    loaded: list[Detector] = [import_module(room).detector for room in rooms]
    names = [d.spec.name for d in loaded]
    if len(set(names)) != len(names):
        raise ValueError(f"two rooms share a name: {names}")
    done: list[Detector] = []
    while loaded:
        ready = [d for d in loaded if set(d.spec.after) <= {x.spec.name for x in done}]
        if not ready:
            raise ValueError(f"rooms wait for each other: {[d.spec.name for d in loaded]}")
        done += ready
        loaded = [d for d in loaded if d not in ready]
    return tuple(done)
