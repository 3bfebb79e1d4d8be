"""Pictures: what they are, and their frames as upright RGB at a reduced scale (Pillow)."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, UnidentifiedImageError

from pipeline.decode import polyglot
from pipeline.decode.faults import BAD_BYTES, too_large, unreadable, wrong_type
from pipeline.decode.limits import Limits
from pipeline.decode.sniff import DECODABLE, media_type
from pipeline.model.errors import ContentError

_FORMATS: Final = {
    "image/jpeg": ("JPEG", "MPO"),
    "image/png": ("PNG",),
    "image/gif": ("GIF",),
    "image/webp": ("WEBP",),
    "image/bmp": ("BMP",),
    "image/tiff": ("TIFF",),
}
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED: Final = frozenset({5, 6, 7, 8})
_BOMBS: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One decoded frame, upright: ``pixels`` are height × width × 3 bytes RGB, or × 1 luma."""

    pixels: bytes
    width: int
    height: int
    scale: float
    frame_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a picture is: pixels after orientation, and how many frames."""

    media_type: str
    width: int
    height: int
    frame_count: int


def probe_picture(data: bytes, limits: Limits) -> Facts:
    """Decode the first frame as cheaply as the format allows, and say what the picture is."""
    with _opened(data, limits) as opened:
        facts = opened.facts
        try:
            opened.image.draft("RGB", (1, 1))
            opened.image.load()
        except _BOMBS as error:
            raise too_large(str(error)) from error
        except BAD_BYTES as error:
            raise unreadable(f"{facts.media_type}: {error}") from error
    return facts


def decode_picture(
    data: bytes, limits: Limits, *, side_max: int, frames_max: int, grey: bool = False
) -> tuple[Frame, ...]:
    """Decode at most ``frames_max`` frames, spread evenly, the first always among them."""
    if not 1 <= side_max <= limits.side_max or frames_max < 1:
        raise ValueError(f"side_max {side_max} or frames_max {frames_max} is out of range")
    with _opened(data, limits) as opened:
        facts = opened.facts
        wanted = spread(facts.frame_count, min(frames_max, limits.frames_max))
        if facts.width * facts.height * len(wanted) > limits.pixels_total_max:
            wanted = wanted[: max(1, limits.pixels_total_max // (facts.width * facts.height))]
        try:
            return tuple(_frame(opened, index, side_max, limits, grey=grey) for index in wanted)
        except _BOMBS as error:
            raise too_large(str(error)) from error
        except BAD_BYTES as error:
            raise unreadable(f"{facts.media_type}: {error}") from error


def spread(count: int, most: int) -> Sequence[int]:
    """Pick at most ``most`` of ``count`` frame numbers, evenly, from the first on."""
    if count <= most:
        return range(count)
    return [i * count // most for i in range(most)]


class _Opened:
    """An opened picture with its facts checked; closes on leaving."""

    def __init__(self, image: Image.Image, facts: Facts, orientation: int) -> None:
        self.image = image
        self.facts = facts
        self.orientation = orientation

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self.image.close()


def _opened(data: bytes, limits: Limits) -> _Opened:
    kind = media_type(data)
    if kind not in DECODABLE:
        raise wrong_type(f"{kind} is not a picture that is decoded")
    behind = polyglot.second_file(data, kind)
    if behind:
        raise ContentError("blob.polyglot", f"a {behind} file hides behind {kind}")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS[kind])
    except _BOMBS as error:
        raise too_large(str(error)) from error
    except UnidentifiedImageError as error:
        raise unreadable(f"{kind}: the header is broken") from error
    except BAD_BYTES as error:
        raise unreadable(f"{kind}: {error}") from error
    try:
        return _checked(image, kind, limits)
    except ContentError:
        image.close()
        raise


def _checked(image: Image.Image, kind: str, limits: Limits) -> _Opened:
    if image.format not in _FORMATS[kind]:
        raise wrong_type(f"{kind} opened as {image.format}")
    width, height = image.size
    if width * height > limits.pixels_max:
        raise too_large(f"{width} × {height} pixels are more than {limits.pixels_max}")
    try:
        # A multi-picture JPEG carries previews, gain and depth maps of its one picture.
        count = 1 if kind == "image/jpeg" else int(getattr(image, "n_frames", 1))
    except BAD_BYTES as error:
        raise unreadable(f"{kind}: {error}") from error
    if count > limits.frames_max:
        raise too_large(f"{count} frames are more than {limits.frames_max}")
    orientation = _orientation(image)
    if orientation in _TURNED:
        width, height = height, width
    facts = Facts(media_type=kind, width=width, height=height, frame_count=count)
    return _Opened(image, facts, orientation)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; 1 where there is none or its block is broken."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except BAD_BYTES:
        return 1
    return value if value in _UPRIGHT else 1


def _frame(opened: _Opened, index: int, side_max: int, limits: Limits, *, grey: bool) -> Frame:
    image = opened.image
    if index:
        image.seek(index)
    longer_full = max(image.size)
    if image.size[0] * image.size[1] > limits.pixels_max:
        raise too_large(f"frame {index} has more than {limits.pixels_max} pixels")
    shrink = min(1.0, side_max / longer_full)
    wanted = [max(1, round(side * shrink)) for side in image.size]
    # Of a JPEG no more is decoded than is wanted; both its sides are told, or the shorter would decide.
    image.draft("L" if grey else "RGB", (wanted[0], wanted[1]))
    image.load()
    small = image if image.mode in ("RGB", "L") else to_rgb(image)
    small = small.convert("L") if grey else small
    if small.size != tuple(wanted):
        small = small.resize(wanted, Image.Resampling.HAMMING)
    small = small if grey else to_rgb(small)
    if opened.orientation != 1:
        small = small.transpose(_UPRIGHT[opened.orientation])
    width, height = small.size
    return Frame(
        pixels=small.tobytes(),
        width=width,
        height=height,
        scale=max(width, height) / longer_full,
        frame_index=index,
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16 bits and floats scaled to 8, transparency laid over white."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.mode in ("I", "F"):
        return _stretched(image).convert("RGB")
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        paper = Image.new("RGBA", upper.size, "white")
        return Image.alpha_composite(paper, upper).convert("RGB")
    return image.convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Bring 32-bit values to 0–255: as they are if they fit, else from least to greatest."""
    low, high = image.convert("F").getextrema()
    if not isinstance(low, float) or not isinstance(high, float) or low != low or high != high:
        raise ValueError("pixel values are not numbers")
    if (low >= 0.0 and high <= 255.0) or high <= low:
        return image.convert("F").convert("L")
    gain = 255.0 / (high - low)
    return image.convert("F").point(lambda value: value * gain - low * gain).convert("L")
