"""The child may hang, starve, die or lie: the parent answers with a typed code and goes on."""

import gc
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.decode import Limits, open_decoder
from pipeline.decode.inline import InlineDecoder
from pipeline.decode.pool import PooledDecoder
from pipeline.model.errors import ContentError


def save(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


NOISE = save(Image.frombytes("RGB", (90, 70), np.random.default_rng(0).bytes(90 * 70 * 3)))


def many_scans(repeats: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: small to send, slow to decode."""
    whole = save(Image.new("L", (6000, 6000), 128), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * repeats + whole[-2:]


@pytest.fixture
def decoder() -> Iterator[PooledDecoder]:
    with open_decoder() as opened:
        yield opened


def child_of(decoder: PooledDecoder) -> int:
    assert decoder._child is not None
    return decoder._child.process.pid


def test_it_answers_as_the_inline_decoder_does(decoder: PooledDecoder) -> None:
    inline = InlineDecoder()
    frames = [Image.new("RGB", (50, 40), (i * 20, 0, 0)) for i in range(10)]
    for data in (NOISE, save(frames[0], "GIF", save_all=True, append_images=frames[1:])):
        assert decoder.probe(data) == inline.probe(data)
        mine = decoder.pictures(data, side_max=33)
        for got, wanted in zip(mine, inline.pictures(data, side_max=33), strict=True):
            assert (got.pixels == wanted.pixels).all()
            assert (got.scale, got.frame_index) == (wanted.scale, wanted.frame_index)
    page = "<html><body>一碗豆花 \U0001f35c</body></html>".encode()
    assert decoder.document(page, "text/html") == inline.document(page, "text/html")
    for data, claim in ((b"", None), (b"\xff\xd8\xff\xe0noise", None), (b"<html>", "image/png")):
        with pytest.raises(ContentError) as mine_error:
            decoder.probe(data, claim)
        with pytest.raises(ContentError) as inline_error:
            inline.probe(data, claim)
        assert mine_error.value.code == inline_error.value.code


def test_one_child_serves_many_files(decoder: PooledDecoder) -> None:
    decoder.probe(NOISE)
    first = child_of(decoder)
    for _ in range(20):
        decoder.pictures(NOISE, side_max=40)
    assert child_of(decoder) == first


def test_a_child_that_was_killed_is_replaced_and_the_file_is_not_blamed(
    decoder: PooledDecoder,
) -> None:
    decoder.probe(NOISE)
    first = child_of(decoder)
    os.kill(first, signal.SIGKILL)
    assert decoder.probe(NOISE).width == 90
    assert child_of(decoder) != first


def test_a_child_that_is_stopped_runs_into_the_wall() -> None:
    with open_decoder(Limits(wall_s=0.5)) as decoder:
        for _ in range(40):  # the child's own start also counts, and this machine may be busy
            try:
                decoder.probe(NOISE)
                break
            except ContentError:
                continue
        os.kill(child_of(decoder), signal.SIGSTOP)
        with pytest.raises(ContentError) as caught:
            decoder.probe(NOISE)
        assert caught.value.code == "blob.timeout"


def test_a_picture_that_costs_too_many_seconds_times_out() -> None:
    slow = many_scans(3_000)
    assert len(slow) < 5_000_000
    with open_decoder(Limits(picture_cpu_s=1)) as decoder:
        began = time.monotonic()
        with pytest.raises(ContentError) as caught:
            decoder.pictures(slow, side_max=6_000)
        assert caught.value.code == "blob.timeout"
        assert time.monotonic() - began < 55
        assert decoder.probe(NOISE).width == 90


def test_cpu_seconds_are_counted_for_each_file_anew() -> None:
    work = save(Image.new("L", (6000, 6000), 128), "JPEG", progressive=True)
    with open_decoder(Limits(picture_cpu_s=1)) as decoder:
        for _ in range(8):
            decoder.probe(work)
        decoder.probe(NOISE)


def test_memory_beyond_the_limit_is_too_large_and_others_go_on() -> None:
    large = save(Image.new("RGB", (6000, 6000), "navy"))
    with open_decoder(Limits(address_space_extra=60_000_000)) as decoder:
        with pytest.raises(ContentError) as caught:
            decoder.pictures(large, side_max=64)
        assert caught.value.code == "blob.too_large"
        assert decoder.probe(NOISE).width == 90


def test_forty_megapixels_fit_into_the_default_limits(decoder: PooledDecoder) -> None:
    for mode, kind in (("RGB", "PNG"), ("CMYK", "JPEG"), ("RGBA", "PNG")):
        large = save(Image.new(mode, (8000, 5000)), kind)
        (picture,) = decoder.pictures(large, side_max=256)
        assert picture.pixels.shape == (160, 256, 3)


def test_an_answer_that_lies_about_its_length_is_no_answer(
    decoder: PooledDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder.probe(NOISE)
    monkeypatch.setattr("pipeline.decode.wire.HEAD_BYTES_MAX", 3)
    with pytest.raises(ContentError) as caught:
        decoder.probe(NOISE)
    assert caught.value.code == "blob.unreadable"


@pytest.mark.parametrize(
    "head",
    [{}, {"facts": 3}, {"facts": {}}, {"facts": {"media_type": "x", "width": "wide"}},
     {"error": "blob.timeout"}, {"error": ["blob.made_up", "x"]}],
)  # fmt: skip
def test_an_answer_of_another_shape_is_no_answer(
    decoder: PooledDecoder, monkeypatch: pytest.MonkeyPatch, head: dict[str, object]
) -> None:
    monkeypatch.setattr(decoder, "_try", lambda question, data: (head, memoryview(b"")))
    for ask in (
        lambda: decoder.probe(NOISE),
        lambda: decoder.pictures(NOISE, side_max=9),
        lambda: decoder.document(NOISE, "text/plain"),
    ):
        with pytest.raises(ContentError) as caught:
            ask()
        assert caught.value.code == "blob.unreadable"


def test_a_decoder_that_is_forgotten_ends_its_child() -> None:
    decoder = open_decoder()
    decoder.probe(NOISE)
    child = child_of(decoder)
    del decoder
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_threads_take_turns(decoder: PooledDecoder) -> None:
    sizes = range(10, 40)
    wrong: list[int] = []

    def ask(side: int) -> None:
        shape = decoder.pictures(NOISE, side_max=side)[0].pixels.shape
        if max(shape) != side:
            wrong.append(side)

    threads = [threading.Thread(target=ask, args=(side,)) for side in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_copy_has_a_child_of_its_own(decoder: PooledDecoder) -> None:
    decoder.probe(NOISE)
    with pickle.loads(pickle.dumps(decoder)) as copy:
        assert copy.probe(NOISE) == decoder.probe(NOISE)
        assert child_of(copy) != child_of(decoder)


def test_closing_ends_the_child_and_a_question_starts_another(decoder: PooledDecoder) -> None:
    decoder.probe(NOISE)
    child = child_of(decoder)
    decoder.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert decoder.probe(NOISE).width == 90


def test_the_child_knows_no_secrets_and_holds_its_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOUNTYGUARD_DATABASE_URL", "postgresql://user:secret@host/db")
    with open_decoder() as decoder:
        decoder.probe(NOISE)
        place = Path(f"/proc/{child_of(decoder)}")
        if not place.exists():
            pytest.skip("this system shows no processes under /proc")
        assert b"secret" not in (place / "cmdline").read_bytes()
        limits = (place / "limits").read_text()
        soft = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
        assert soft["Max address space"].isdigit()
        assert soft["Max cpu time"].isdigit()
        assert soft["Max file size"] == "0"
        assert "NoNewPrivs:\t1" in (place / "status").read_text()


def test_nothing_outlives_a_parent_that_was_killed() -> None:
    program = (
        "import os, sys\nfrom pipeline.decode import open_decoder\n"
        "d = open_decoder()\nd.probe(b'words')\n"
        "print(d._child.process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    child = Path(f"/proc/{done.stdout.strip()}/stat")
    for _ in range(100):
        if not child.exists() or ") Z " in child.read_text():
            return
        time.sleep(0.1)
    pytest.fail("the child is still there")
