"""A second file behind a picture is found by structure; what phones append and chance bytes are not."""

import io
import random
import struct
import tarfile
import zipfile
import zlib

import pytest
from PIL import Image

from pipeline.decode.inline import InlineDecoder
from pipeline.decode.polyglot import end_of_picture, second_file
from pipeline.decode.sniff import DECODABLE, media_type
from pipeline.model.errors import ContentError


def picture(kind: str, seed: int = 0, side: int = 48, **options: object) -> bytes:
    out = io.BytesIO()
    noise = Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(side * side * 3))
    noise.save(out, kind, **options)
    return out.getvalue()


def archive(comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("payload.txt", "what nobody should find")
        packed.comment = comment
    return out.getvalue()


def tape() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("payload.txt"))
    return out.getvalue()


def seven_zip() -> bytes:
    start = struct.pack("<QQI", 0, 0, 0)
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start


KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
SECOND = {
    "zip": archive(),
    "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\nstartxref\n0\n%%EOF\n",
    "rar": b"Rar!\x1a\x07\x01\x00" + bytes(20),
    "7z": seven_zip(),
}
AT_END = {
    "gif": picture("GIF"), "png": picture("PNG"), "elf": b"\x7fELF\x02\x01\x01" + bytes(40),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(10), "tar": tape(),
    "html": b"<html><script>alert(1)</script>", "script": b"#!/bin/sh\nid\n",
    "exe": b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\x00\x00" + bytes(20),
    "class": b"\xca\xfe\xba\xbe\x00\x00\x004", "xz": b"\xfd7zXZ\x00\x00\x04",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("second", SECOND)
def test_an_archive_behind_a_picture_is_found(kind: str, second: str) -> None:
    for gap in (b"", b"\n", bytes(64)):
        with pytest.raises(ContentError, match=second) as caught:
            InlineDecoder().probe(picture(kind) + gap + SECOND[second])
        assert caught.value.code == "blob.polyglot"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("second", AT_END)
def test_another_file_at_the_end_of_a_picture_is_found(kind: str, second: str) -> None:
    for gap in (b"", b"\x00\x00\r\n"):
        data = picture(kind) + gap + AT_END[second]
        assert second_file(data, media_type(data)) == second


def test_an_archive_inside_a_comment_is_found() -> None:
    hidden = archive(comment=b"")
    jpeg = picture("JPEG")
    data = jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(hidden) + 2) + hidden + jpeg[2:]
    assert second_file(data, "image/jpeg") == "zip"
    assert second_file(jpeg + archive(comment=b"x" * 5000), "image/jpeg") == "zip"


def test_a_pdf_with_an_archive_behind_it_is_found() -> None:
    plain = SECOND["pdf"]
    assert second_file(plain, "application/pdf") is None
    assert second_file(plain + archive(), "application/pdf") == "zip"


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_noise_raise_no_alarm(kind: str) -> None:
    for seed in range(30):
        data = picture(kind, seed, side=96)
        assert second_file(data, media_type(data)) is None
        if kind != "TIFF":
            assert end_of_picture(data, media_type(data)) == len(data)


def test_magic_bytes_without_structure_raise_no_alarm() -> None:
    for magic in (b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"%PDF-1.4", b"MZ", b"BZh"):
        raw = magic * 40 + random.Random(3).randbytes(48 * 48 * 3 - 40 * len(magic))
        out = io.BytesIO()
        Image.frombytes("RGB", (48, 48), raw).save(out, "BMP")
        assert second_file(out.getvalue(), "image/bmp") is None
        assert InlineDecoder().probe(out.getvalue()).media_type == "image/bmp"


def test_what_phones_append_is_let_through() -> None:
    jpeg = picture("JPEG")
    motion = struct.pack(">I", 24) + b"ftypmp42" + bytes(200)
    for tail in (jpeg, motion, bytes(2000), b"\xff" * 100, b"SEFH" + bytes(50) + b"SEFT"):
        assert second_file(jpeg + tail, "image/jpeg") is None
        assert InlineDecoder().probe(jpeg + tail).frame_count == 1


def test_a_multi_picture_jpeg_is_one_jpeg() -> None:
    out = io.BytesIO()
    first = Image.new("RGB", (40, 30), "red")
    first.save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (20, 15), "blue")])
    probe = InlineDecoder().probe(out.getvalue())
    assert (probe.media_type, probe.frame_count, probe.width) == ("image/jpeg", 1, 40)
    assert len(InlineDecoder().pictures(out.getvalue(), side_max=64)) == 1


def test_the_end_of_a_broken_picture_is_nowhere_and_found_soon() -> None:
    draw = random.Random(11)
    for kind in KINDS:
        whole = picture(kind)
        for _ in range(300):
            data = bytearray(whole[: draw.randrange(8, len(whole))])
            for _ in range(draw.randrange(4)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            if media_type(bytes(data)) in DECODABLE:
                end_of_picture(bytes(data), media_type(bytes(data)))


def test_a_flood_of_signatures_is_answered_and_not_searched() -> None:
    for magic, name in ((b"PK\x05\x06", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z")):
        assert second_file(b"\xff\xd8\xff" + magic * 1_000_000, "image/jpeg") == name
    assert end_of_picture(b"\xff\xd8" + b"\xff" * 5_000_000, "image/jpeg") is None
