"""The trajectory room: what the behaviour log says of how, how fast and where work was done.

Codes, strengths and p-values are told in ``docs/trajectory.md``. Training and calibration are pure
functions of frames (``train``, ``calibrate``, ``self_train``); their outcome comes back as assets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detectors.trajectory.room import TrajectoryDetector

if TYPE_CHECKING:
    from detectors.trajectory.drawing import picture
    from detectors.trajectory.shift import withdraw
    from detectors.trajectory.training import calibrate, refit, self_train, train

detector = TrajectoryDetector()

_LATER = {
    "picture": "drawing", "train": "training", "calibrate": "training", "self_train": "training",
    "refit": "training", "withdraw": "shift",
}  # fmt: skip
"""Where the functions live that need compiled kernels or scikit-learn: loaded when first asked for."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        module = import_module(f"detectors.trajectory.{_LATER[name]}")
        globals()[name] = getattr(module, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "TrajectoryDetector",
    "calibrate",
    "detector",
    "picture",
    "refit",
    "self_train",
    "train",
    "withdraw",
]
