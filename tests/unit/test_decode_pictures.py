"""Pictures of every mode come out as upright RGB, at the scale that was asked for, or as a typed code."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.decode.images import spread
from pipeline.decode.inline import InlineDecoder
from pipeline.decode.limits import Limits
from pipeline.model.errors import ContentError

DECODER = InlineDecoder()


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def scene(width: int = 120, height: int = 80) -> Image.Image:
    """Red above, blue below, a white square in the left upper corner."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((30, 30, 200), (0, height // 2, width, height))
    image.paste((250, 250, 250), (0, 0, width // 6, height // 6))
    return image


def code_of(data: bytes, claim: str | None = None) -> str:
    with pytest.raises(ContentError) as caught:
        DECODER.probe(data, claim)
    with pytest.raises(ContentError) as again:
        DECODER.pictures(data, side_max=64)
    if claim is None:
        assert again.value.code == caught.value.code
    return caught.value.code


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = b"\x00" * (1 + (width + 7) // 8)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(row * height, 9)) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [("JPEG", {"quality": 95}, 12), ("PNG", {}, 0), ("GIF", {}, 12), ("BMP", {}, 0),
     ("WEBP", {"lossless": True}, 0), ("TIFF", {}, 0), ("TIFF", {"compression": "tiff_lzw"}, 0)],
)  # fmt: skip
def test_every_format_gives_its_pixels(
    kind: str, options: dict[str, object], tolerance: int
) -> None:
    data = save(scene(), kind, **options)
    (picture,) = DECODER.pictures(data, side_max=200)
    assert picture.scale == 1.0
    assert picture.pixels.shape == (80, 120, 3)
    assert picture.pixels.dtype == np.uint8
    far = np.abs(picture.pixels.astype(int) - np.asarray(scene()).astype(int))
    assert np.quantile(far, 0.95) <= tolerance


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray((np.asarray(scene().convert("L")).astype(np.uint16)) * 256)
    else:
        image = scene().quantize(8) if mode == "P" else scene().convert(mode)
    kind = "PNG" if mode in ("1", "L", "LA", "P", "RGBA", "I;16") else "TIFF"
    (picture,) = DECODER.pictures(save(image, kind), side_max=200)
    assert picture.pixels.shape == (80, 120, 3)
    if mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr"):
        far = np.abs(picture.pixels.astype(int) - np.asarray(scene()).astype(int))
        assert np.quantile(far, 0.95) <= 4
    if mode in ("L", "LA", "I", "F", "I;16"):
        grey = np.asarray(scene().convert("L")).astype(int)
        assert np.abs(picture.pixels[:, :, 0].astype(int) - grey).max() <= 1


def test_what_is_transparent_lies_on_white() -> None:
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 10, 20))
    for data in (save(clear, "PNG"), save(clear, "WEBP", lossless=True), save(clear, "GIF")):
        (picture,) = DECODER.pictures(data, side_max=32)
        assert picture.pixels[5, 5].tolist() == [255, 0, 0]
        assert picture.pixels[5, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side_max", [32, 400])
def test_every_orientation_stands_upright(orientation: int, side_max: int) -> None:
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](scene())
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(stored, "JPEG", quality=95, exif=exif)
    probe = DECODER.probe(data)
    assert (probe.width, probe.height) == (120, 80)
    (picture,) = DECODER.pictures(data, side_max=side_max)
    height, width, _ = picture.pixels.shape
    assert width > height
    assert picture.pixels[2, 2].min() > 150
    assert picture.pixels[height - 3, width // 2, 2] > 120


def test_a_broken_exif_block_leaves_the_picture_standing() -> None:
    data = save(scene(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\xff" * 40)
    assert DECODER.probe(data).width == 120


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_longer_side_obeys_and_the_scale_says_by_how_much(kind: str) -> None:
    data = save(scene(1201, 800), kind)
    for side_max in (1, 7, 64, 256, 600, 1200):
        (picture,) = DECODER.pictures(data, side_max=side_max)
        assert max(picture.pixels.shape[:2]) == side_max
        assert picture.scale == pytest.approx(side_max / 1201)
    (picture,) = DECODER.pictures(data, side_max=2000)
    assert picture.scale == 1.0


def test_animated_pictures_by_their_frames() -> None:
    frames = [Image.new("RGB", (30, 20), (8 * i, 0, 255 - 8 * i)) for i in range(30)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = save(frames[0], kind, save_all=True, append_images=frames[1:])
        assert DECODER.probe(data).frame_count == 30
        shown = DECODER.pictures(data, side_max=64, frames_max=5)
        assert [p.frame_index for p in shown] == [0, 6, 12, 18, 24]
        for picture in shown:
            assert abs(int(picture.pixels[10, 15, 0]) - 8 * picture.frame_index) <= 12


def test_frames_are_spread_from_the_first_on() -> None:
    assert list(spread(3, 8)) == [0, 1, 2]
    assert list(spread(60, 1)) == [0]
    assert list(spread(60, 4)) == [0, 15, 30, 45]


def test_too_many_frames_are_refused() -> None:
    frames = [Image.new("L", (4, 4), i) for i in range(61)]
    data = save(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert code_of(data) == "blob.too_large"


def test_a_later_page_may_not_be_larger_than_a_first_one_might() -> None:
    first, second = Image.new("1", (4, 4)), Image.new("1", (9000, 5000))
    data = save(first, "TIFF", save_all=True, append_images=[second], compression="group4")
    assert DECODER.probe(data).frame_count == 2
    with pytest.raises(ContentError) as caught:
        DECODER.pictures(data, side_max=64)
    assert caught.value.code == "blob.too_large"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "size", [(24_000, 24_000), (8_000, 6_000), (2_000_000, 30), (100_000, 1_000)]
)
def test_pixel_bombs_are_too_large(size: tuple[int, int]) -> None:
    assert code_of(png_of_size(*size)) == "blob.too_large"


@pytest.mark.parametrize("size", [(1, 1), (60_000, 1), (1, 60_000), (6_000, 6_000)])
def test_odd_sizes_within_the_limits_are_taken(size: tuple[int, int]) -> None:
    data = png_of_size(*size)
    assert (DECODER.probe(data).width, DECODER.probe(data).height) == size
    (picture,) = DECODER.pictures(data, side_max=256)
    assert max(picture.pixels.shape[:2]) == min(256, max(size))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_half_a_picture_is_unreadable(kind: str) -> None:
    noise = Image.frombytes("RGB", (64, 64), np.random.default_rng(1).bytes(64 * 64 * 3))
    whole = save(noise, kind)
    assert code_of(whole[: len(whole) // 2]) == "blob.unreadable"


def test_noise_behind_a_header_is_unreadable() -> None:
    noise = np.random.default_rng(2).bytes(3000)
    for header in (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*"):
        assert code_of(header + noise) == "blob.unreadable"


def test_a_claim_decides_nothing_but_whether_it_is_a_picture() -> None:
    jpeg = save(scene(), "JPEG")
    assert DECODER.probe(jpeg, "image/png").media_type == "image/jpeg"
    assert DECODER.probe(jpeg, "text/plain").media_type == "image/jpeg"
    page = b"<!doctype html><html><body>x</body></html>"
    assert DECODER.probe(page, "text/plain").media_type == "text/html"
    for data in (page, b"just words", b"%PDF-1.4 not", bytes(range(256)), b"\x00\x01"):
        assert code_of(data, "image/png") == "blob.wrong_type"


def test_pictures_that_are_not_decoded_are_known_all_the_same() -> None:
    heic = b"\x00\x00\x00\x18ftypheic" + bytes(64)
    assert DECODER.probe(heic, "image/heic").media_type == "image/heic"
    assert DECODER.probe(heic).width is None
    with pytest.raises(ContentError) as caught:
        DECODER.pictures(heic, side_max=64)
    assert caught.value.code == "blob.wrong_type"


def test_nothing_and_too_much() -> None:
    assert code_of(b"") == "blob.empty"
    small = InlineDecoder(Limits(bytes_max=100))
    with pytest.raises(ContentError) as caught:
        small.probe(bytes(101))
    assert caught.value.code == "blob.too_large"


def test_asking_for_what_cannot_be_is_a_bug() -> None:
    with pytest.raises(ValueError, match="out of range"):
        DECODER.pictures(save(scene(), "PNG"), side_max=0)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "CMYK", "1", "I;16"])
def test_grey_is_the_luma_of_the_colours(mode: str) -> None:
    """Also where a JPEG's colours are never decoded, at a reduced scale."""
    picture = scene(640, 400)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    kinds = ["PNG", "TIFF"] if mode != "CMYK" else ["JPEG", "TIFF"]
    for kind in [*kinds, "JPEG"] if mode in ("RGB", "L") else kinds:
        data = save(picture, kind)
        (colours,) = DECODER.pictures(data, side_max=100)
        (grey,) = DECODER.pictures(data, side_max=100, grey=True)
        luma = np.asarray(Image.fromarray(colours.pixels).convert("L"), np.int16)
        assert grey.pixels.shape == luma.shape == (62, 100)
        assert grey.scale == colours.scale
        assert np.abs(grey.pixels - luma).max() <= 6, (mode, kind)


def test_a_jpeg_is_decoded_no_larger_than_is_asked_for_by_either_side() -> None:
    """A long picture shrinks by its own shape, and keeps it."""
    data = save(scene(1200, 300), "JPEG", quality=90)
    (small,) = DECODER.pictures(data, side_max=150)
    assert small.pixels.shape == (38, 150, 3)
    assert small.scale == pytest.approx(1 / 8)
