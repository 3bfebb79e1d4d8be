"""Marking what is handed over: keys, marked copies and their lines in the registry; marks of others."""

import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from detectors.watermark.mark import Keyring, MarkKey, read
from detectors.watermark.mark.keys import KEYS_MAX
from detectors.watermark.registry import Delivery, Registry, deliver, deliver_text, to_line
from detectors.watermark.textmark import read_text
from detectors.watermark.visible import Template, from_json, learn, to_json
from pipeline.bootstrap import House
from pipeline.model.errors import ContentError, UsageError

KEYS: Final = "watermark.keys"
TEMPLATES: Final = "watermark.templates"
MASTER_BYTES: Final = 32
SIDE_MAX: Final = 16_384
JPEG_QUALITY: Final = 95
LEARN_SIDE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A marked copy: its bytes, what they are, and the delivery that it stands for."""

    data: bytes
    media_type: str
    delivery: Delivery

    @property
    def suffix(self) -> str:
        """The ending of a file that holds it."""
        return {"image/jpeg": ".jpg", "image/png": ".png"}.get(self.media_type, ".txt")


def keyring(house: House) -> Keyring:
    """Return the keys that deliveries may carry; an empty ring before the first."""
    kept = house.assets.get(KEYS)
    return Keyring.from_json(kept) if kept else Keyring()


def rotate(house: House, *, tenant: str = "default") -> MarkKey:
    """Make a key of a new epoch, which marks from now on; a tenant's earlier ones only detect."""
    ring = keyring(house)
    if len(ring) >= KEYS_MAX:
        raise UsageError("marks.keys", f"the ring holds {KEYS_MAX} keys; drop one first")
    epoch = 1 + max((k.epoch for k in ring), default=0)
    made = MarkKey(
        key_id=f"m{epoch}", master=secrets.token_bytes(MASTER_BYTES), tenant=tenant, epoch=epoch
    )
    earlier = (k.retire() if k.tenant == tenant else k for k in ring)
    _keep(house, Keyring(keys=(*earlier, made)), f"{made.key_id} made")
    return made


def drop(house: House, key_id: str) -> None:
    """Forget a key: what carries it is found no more."""
    ring = keyring(house)
    gone = ring[key_id]
    _keep(house, Keyring(keys=tuple(k for k in ring if k is not gone)), f"{key_id} dropped")


def _keep(house: House, ring: Keyring, note: str) -> None:
    house.assets.put(KEYS, ring.to_json(), note=note, now=house.settings.now())


def hand_over(
    house: House, data: bytes, *, submission_id: str, recipient: str, tenant: str = "default"
) -> Copy:
    """Mark a file of a known submission for one recipient, and record the delivery.

    A picture comes back as JPEG where it was one, otherwise as PNG, upright and without its
    metadata; a text as UTF-8. The first delivery of a tenant makes its key. Raises ``UsageError``
    for an unknown submission and for what cannot carry a mark, ``ContentError`` for a broken file.
    """
    paid = _paid(house, submission_id)
    ring = keyring(house)
    if not any(k.tenant == tenant and not k.retired for k in ring):
        rotate(house, tenant=tenant)
        ring = keyring(house)
    made = _marked(house, data, ring.current(tenant), {
        "submission_id": submission_id, "worker_id": paid["worker_id"],
        "task_id": paid["task_id"], "recipient": recipient,
        "delivered_at": house.settings.now(),
    })  # fmt: skip
    return made


def _paid(house: House, submission_id: str) -> dict[str, Any]:
    found = house.known.submissions([submission_id])
    if found.is_empty():
        raise UsageError("submission.unknown", f"there is no submission {submission_id!r}")
    return found.row(0, named=True)


def _marked(house: House, data: bytes, key: MarkKey, to: dict[str, Any]) -> Copy:
    kind = house.decoder.probe(data).media_type
    if kind.startswith("text/"):
        text, delivery = deliver_text(data.decode("utf-8", "replace"), key, **to)
        return Copy(data=text.encode(), media_type="text/plain", delivery=delivery)
    if not kind.startswith("image/"):
        raise UsageError("mark.kind", f"{kind} cannot carry a mark; pictures and texts can")
    frames = house.decoder.pictures(data, side_max=SIDE_MAX, frames_max=2)
    if len(frames) != 1 or frames[0].scale != 1.0:
        raise UsageError("mark.kind", "a picture of several frames, or too large, takes no mark")
    pixels, delivery = deliver(np.ascontiguousarray(frames[0].pixels), key, **to)
    media_type = "image/jpeg" if kind == "image/jpeg" else "image/png"
    return Copy(data=_encode(pixels, media_type), media_type=media_type, delivery=delivery)


def _encode(pixels: npt.NDArray[np.uint8], media_type: str) -> bytes:
    out = io.BytesIO()
    picture = Image.fromarray(pixels)
    if media_type == "image/jpeg":
        picture.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(out, "PNG")
    return out.getvalue()


def record(house: House, copy: Copy, *, digest: str | None = None) -> None:
    """Write a delivery into the registry; ``digest`` names the copy where it is kept."""
    one = copy.delivery
    row = {
        "key_id": one.key_id, "serial": f"{one.serial:016x}", "submission_id": one.submission_id,
        "worker_id": one.worker_id, "task_id": one.task_id, "recipient": one.recipient,
        "delivered_at": one.delivered_at, "line": to_line(one).decode(), "digest": digest,
    }  # fmt: skip
    house.deliveries.add([row])


class CopyDesk:
    """Hands over copies for the API, and keeps them, so that a repeated request gets the same one."""

    def __init__(self, house: House) -> None:
        self._house = house

    def __call__(
        self, submission_id: str, content_index: int | None, recipient: str
    ) -> dict[str, str]:
        """Mark a file of the submission, or without an index its text; see ``hand_over``."""
        data = self._content(submission_id, content_index)
        copy = hand_over(self._house, data, submission_id=submission_id, recipient=recipient)
        digest = self._house.blobs.put(copy.data)
        record(self._house, copy, digest=digest)
        one = copy.delivery
        return {
            "key_id": one.key_id, "serial": f"{one.serial:016x}", "media_type": copy.media_type,
            "digest": digest,
        }  # fmt: skip

    def kept(self, digest: str) -> bytes:
        """Return a copy that was made before. Raises ``ContentError`` where it was erased."""
        return self._house.blobs.get(digest)

    def _content(self, submission_id: str, index: int | None) -> bytes:
        if index is None:
            return str(_paid(self._house, submission_id)["text"]).encode()
        files = self._house.known.contents([submission_id])
        for row in files.iter_rows(named=True):
            if row["content_index"] == index:
                return self._house.blobs.get(row["digest"])
        raise UsageError("content.unknown", f"{submission_id!r} holds no file {index}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Our mark in a file: how sure, and whose delivery it is where the registry knows it."""

    key_id: str
    serial: int
    p_value: float
    delivery: Delivery | None


def look(house: House, data: bytes) -> Seen | None:
    """Read our mark in a picture or text with every key, retired ones too; None where none is."""
    ring = keyring(house)
    kind = house.decoder.probe(data).media_type
    found: Any = None
    if kind.startswith("image/"):
        frame = house.decoder.pictures(data, side_max=2048, frames_max=1)[0]
        found = next((r for r in read(frame.pixels, ring) if r.serial is not None), None)
    elif kind.startswith("text/"):
        found = read_text(data.decode("utf-8", "replace"), ring.keys)
    else:
        found = read_text("\n".join(house.decoder.document(data, kind).pages), ring.keys)
    if found is None:
        return None
    line = house.deliveries.line(found.key_id, f"{found.serial:016x}")
    known = next(iter(Registry.from_lines(line)), None) if line else None
    p_value = min(1.0, found.p_decode * (len(ring) if kind.startswith("image/") else 1))
    return Seen(key_id=found.key_id, serial=found.serial, p_value=p_value, delivery=known)


def learn_mark(house: House, folder: Path, name: str) -> tuple[Template, int]:
    """Learn a visible mark of others from a folder of pictures that carry it, in one place each.

    A mark of that name is replaced, and everything known is judged again. Returns the template and
    how many files could not be read. Raises ``UsageError`` where nothing is shared.
    """
    if not folder.is_dir():
        raise UsageError("marks.folder", f"{folder} is no folder")
    pictures, unread = [], 0
    for data in _files(folder):
        try:
            frames = house.decoder.pictures(data, side_max=LEARN_SIDE, frames_max=1)
            pictures.append(np.ascontiguousarray(frames[0].pixels))
        except ContentError:
            unread += 1
    made = learn(name, pictures)
    kept = house.assets.get(TEMPLATES)
    others = [t for t in (from_json(kept) if kept else ()) if t.name != name]
    data = to_json([*others, made])
    house.assets.put(TEMPLATES, data, note=f"{name} learned", now=house.settings.now())
    house.work.queue_all(depth=1)
    return made, unread


def _files(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield path.read_bytes()
