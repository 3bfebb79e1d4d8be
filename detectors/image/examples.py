"""What the room must say of small generated pictures: its documentation and its first test."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import cv2
import numpy as np

from detectors.image.drawings import photo, screen
from detectors.image.hashes import Grey
from pipeline.ports import Example

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DUPLICATE: Final = frozenset({"image.near_duplicate"})
_REGION: Final = frozenset({"image.region_reused"})


def png(pixels: Grey) -> bytes:
    """Encode pixels (BGR or grey) as PNG."""
    return bytes(cv2.imencode(".png", pixels)[1])


def jpeg(pixels: Grey, quality: int = 85) -> bytes:
    """Encode pixels (BGR or grey) as JPEG."""
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def row(name: str, data: bytes, minute: int, **more: Any) -> dict[str, Any]:
    """Write one submission with one picture."""
    return {
        "submission_id": name, "worker_id": f"w-{name}", "files": ((f"{name}.img", data),),
        "submitted_at": _START + timedelta(minutes=minute),
    } | more  # fmt: skip


def phone(picture: Grey) -> Grey:
    """Show a picture in a phone's gallery."""
    page = np.full((760, 400, 3), 20, np.uint8)
    small = cv2.resize(picture, (400, round(400 * picture.shape[0] / picture.shape[1])))
    top = (760 - small.shape[0]) // 2
    page[top : top + small.shape[0]] = small
    cv2.putText(page, "12:45", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (240,) * 3, 2)
    return page


def second_view(picture: Grey) -> Grey:
    """Bend a picture as the depth of a room bends it for a photographer who stepped aside."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = 9 * np.sin(x / 34) + 7 * np.sin(y / 27)
    bent = cv2.remap(picture, x + moved, y + 0.5 * moved, cv2.INTER_LINEAR)
    return np.asarray(bent, np.uint8)


def examples() -> Iterator[Example]:
    """Copies in several dresses, and honest pictures that must pass."""
    ours, other = photo(1, 270, 360), photo(2, 270, 360)
    yield Example(
        title="a mirrored and a cropped copy are found, whoever arrives first",
        submissions=(
            row("b", jpeg(np.ascontiguousarray(ours[:, ::-1]), 50), 2),
            row("a", png(ours), 1),
            row("c", png(other), 3),
            row("d", jpeg(ours[30:195, 45:285], 60), 4),
        ),
        expected={"b": _DUPLICATE, "d": _REGION},
        matched={"b": "a", "d": "a"},
    )
    yield Example(
        title="a photograph shown in a phone's gallery is that photograph",
        submissions=(row("a", png(ours), 1), row("b", jpeg(phone(ours)), 2)),
        expected={"b": _DUPLICATE},
        matched={"b": "a"},
    )
    yield Example(
        title="another view of one scene is worth a look and no more",
        submissions=(row("a", png(ours), 1), row("b", jpeg(second_view(ours)), 2)),
        expected={"b": frozenset({"image.same_scene"})},
    )
    yield Example(
        title="screenshots of one app differ in what varies; only the stolen one is found",
        submissions=(
            *(row(f"h{i}", png(screen(7, fields=i)), i) for i in range(4)),
            row("thief", jpeg(screen(7, fields=2), 60), 9),
        ),
        expected={"thief": _DUPLICATE},
        matched={"thief": "h2"},
    )
    yield Example(
        title="a worker's own revision is never accused of copying itself",
        submissions=(
            row("a", png(ours), 1, worker_id="w"),
            row("b", jpeg(ours), 2, worker_id="w", supersedes="a"),
        ),
    )
    yield Example(
        title="a picture that the task handed out accuses nobody",
        tasks=({"task_id": "t", "reference_files": (png(ours),)},),
        submissions=(row("a", jpeg(ours, 90), 1), row("b", jpeg(ours, 70), 2)),
    )
    noise = b"\xff\xd8\xff\xe0" + bytes(range(256))
    yield Example(
        title="a picture that cannot be decoded is no finding",
        submissions=(row("a", noise, 1), row("b", noise, 2)),
    )
