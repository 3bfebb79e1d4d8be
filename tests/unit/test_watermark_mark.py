"""The invisible mark: what it survives, whom it names, and whom it never names."""

from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from detectors.watermark.examples import texture
from detectors.watermark.mark import Keyring, MarkKey, embed, p_present, read, verify
from detectors.watermark.mark.code import CODED_BITS, decode, decode_list, encode, seal, unseal
from detectors.watermark.ours import find_mark
from detectors.watermark.registry import Delivery, Registry, deliver, to_line
from pipeline.model.errors import UsageError

KEY = MarkKey(key_id="k", master=b"a key of the tests alone", epoch=3)
OTHER = MarkKey(key_id="o", master=b"another key of the tests", epoch=3)
SERIAL = 0xFEED_FACE_CAFE_BEEF
AT = datetime(2026, 5, 1, tzinfo=UTC)
SUBMISSION = {
    "submission_id": "s", "worker_id": "w", "task_id": "t", "submitted_at": AT + timedelta(days=2),
}  # fmt: skip
Pixels = np.ndarray


@pytest.fixture(scope="module")
def marked() -> Pixels:
    return embed(texture(5), SERIAL, KEY)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    packed = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[:, :, ::-1])


def turned(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 4.0, 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC))


@pytest.mark.parametrize(
    "attack",
    [
        lambda p: p,
        lambda p: jpeg(p, 60),
        lambda p: np.ascontiguousarray(p[:, ::-1]),
        lambda p: np.ascontiguousarray(np.rot90(p)),
        lambda p: np.ascontiguousarray(p[50:350, 70:460]),
        lambda p: cv2.resize(p, None, fx=1.6, fy=1.6, interpolation=cv2.INTER_CUBIC),
        turned,
    ],
    ids=["plain", "jpeg", "mirror", "quarter turn", "crop", "resize", "turn"],
)
def test_the_serial_is_read_blind(marked: Pixels, attack: object) -> None:
    found = read(attack(marked), [OTHER, KEY])  # type: ignore[operator]
    assert [r.serial for r in found] == [None, SERIAL]
    assert found[1].p_decode < 1e-6
    assert verify(found[1], KEY, SERIAL) < 1e-12


def test_the_mark_is_faint_as_asked_and_fainter_where_it_would_show(marked: Pixels) -> None:
    assert cv2.PSNR(texture(5), marked) >= 42.0
    assert 45.8 <= cv2.PSNR(texture(5), embed(texture(5), 1, KEY, psnr_db=46.0)) <= 46.2
    rough = np.random.default_rng(3).integers(0, 255, (400, 500, 3), dtype=np.uint8)
    rough = cv2.GaussianBlur(rough, (0, 0), 1.0)
    assert 42.0 <= cv2.PSNR(rough, embed(rough, 1, KEY)) <= 42.3
    smooth = cv2.GaussianBlur(texture(5), (0, 0), 6.0)
    assert cv2.PSNR(smooth, embed(smooth, 1, KEY)) >= 43.0


def test_the_next_best_messages_hold_what_noise_hid() -> None:
    draw, first, listed = np.random.default_rng(4), 0, 0
    for number in range(30):
        message = seal(KEY, number)
        soft = encode(message) * 0.78 + draw.normal(0, 1, CODED_BITS)
        found = [unseal(KEY, m) for m in decode_list(soft.astype(np.float32), 64)]
        first += found[0] == number
        listed += number in found
        assert {f for f in found if f is not None} <= {number}
    assert listed >= first + 5


def bent(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moves = np.array([[0.03, -0.02], [-0.02, 0.03], [0.03, 0.02], [-0.03, -0.03]], np.float32)
    to = cv2.getPerspectiveTransform(
        corners, (corners + moves * [width, height]).astype(np.float32)
    )
    return np.asarray(cv2.warpPerspective(pixels, to, (width, height), flags=cv2.INTER_CUBIC))


def test_a_small_and_a_bent_copy_of_a_whole_picture_are_read() -> None:
    large = np.asarray(cv2.resize(texture(14), (768, 512), interpolation=cv2.INTER_CUBIC), np.uint8)
    copy = embed(large, SERIAL, KEY)
    small = np.asarray(cv2.resize(copy, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
    assert [read(change, [KEY])[0].serial for change in (small, bent(copy))] == [SERIAL, SERIAL]


def test_an_unmarked_picture_gives_nothing() -> None:
    reading = read(texture(6), [KEY])[0]
    assert reading.serial is None
    assert p_present(reading, KEY) > 1e-3


def test_p_values_of_other_serials_are_uniform() -> None:
    reading = read(texture(7), [KEY], thorough=False)[0]
    values = np.array([verify(reading, KEY, serial) for serial in range(400)])
    assert abs((values <= 0.1).mean() - 0.1) < 0.05
    assert (values <= 0.01).mean() < 0.035


def test_neighbouring_serials_share_no_code_bits() -> None:
    apart = (encode(seal(KEY, 1000)) != encode(seal(KEY, 1001))).mean()
    assert 0.35 < apart < 0.65


def test_the_code_mends_a_fifth_of_wrong_signs() -> None:
    draw = np.random.default_rng(0)
    signs = encode(seal(KEY, SERIAL))
    flipped = signs * np.where(draw.random(len(signs)) < 0.12, -1, 1).astype(np.float32)
    assert unseal(KEY, decode(flipped)) == SERIAL
    assert unseal(OTHER, decode(flipped)) is None


def test_a_retired_key_only_detects(marked: Pixels) -> None:
    old = MarkKey(key_id="k", master=KEY.master, epoch=3, retired=True)
    assert read(marked, [old], thorough=False)[0].serial == SERIAL
    with pytest.raises(UsageError, match="retired"):
        embed(texture(5), 1, old)


def test_a_key_never_shows_in_its_repr() -> None:
    assert "tests alone" not in repr(KEY)
    ring = Keyring.from_json(Keyring(keys=(KEY, OTHER)).to_json())
    assert [k.key_id for k in ring] == ["k", "o"]
    with pytest.raises(UsageError) as caught:
        Keyring.from_json(b'{"keys": [{"key_id": "x", "master": "not hex"}]}')
    assert "not hex" not in str(caught.value)


def issue(pixels: Pixels, number: int) -> tuple[Pixels, Delivery]:
    return deliver(
        pixels, KEY, serial=0xABCDEF * number + 17, submission_id=f"paid{number}",
        worker_id="author", task_id="t0", recipient=f"p{number}",
        delivered_at=AT + timedelta(hours=number),
    )  # fmt: skip


def test_deliveries_come_back_from_their_lines() -> None:
    _, row = issue(texture(8), 1)
    again = Registry.from_lines(to_line(row)).find("k", row.serial)
    assert again == row
    assert again is not None
    assert np.array_equal(again.thumbnail, row.thumbnail)
    with pytest.raises(UsageError, match="line 2"):
        Registry.from_lines(to_line(row) + b"{}\n")


def test_averaging_copies_neither_removes_the_mark_nor_frames_a_bystander() -> None:
    picture = texture(9)
    copies = [issue(picture, number) for number in range(16)]
    bystander = issue(texture(10), 99)[1]
    registry = Registry([*(row for _, row in copies), bystander])
    mean = np.mean([pixels.astype(np.float64) for pixels, _ in copies], axis=0)
    found = find_mark(np.rint(mean).astype(np.uint8), Keyring(keys=(KEY,)), registry, SUBMISSION)
    assert found is not None
    assert "several recipients" in found.evidence["how"] or found.p_value < 1e-6
    named = {d["submission_id"] for d in found.evidence["deliveries"]}
    assert "paid99" not in named
    assert found.source.submission_id != "paid99"


def test_subtracting_the_average_of_other_deliveries_removes_nothing() -> None:
    pairs = [(texture(s), embed(texture(s), s, KEY).astype(float)) for s in range(50, 58)]
    guess = np.mean([m - cv2.GaussianBlur(m, (0, 0), 1.5) for _, m in pairs[:7]], axis=0)
    target, mark = pairs[7][1], pairs[7][1] - pairs[7][0]
    attacked = np.clip(target - guess * mark.std() / guess.std(), 0, 255).astype(np.uint8)
    assert read(attacked, [KEY], thorough=False)[0].serial == 57


def test_a_copied_residual_and_the_author_accuse_nobody() -> None:
    own, other = texture(11), texture(12)
    marked, row = issue(own, 5)
    ring, registry = Keyring(keys=(KEY,)), Registry([row])
    pasted = np.clip(other.astype(int) + marked - own, 0, 255).astype(np.uint8)
    assert read(pasted, [KEY], thorough=False)[0].serial == row.serial
    assert find_mark(pasted, ring, registry, SUBMISSION) is None
    assert find_mark(marked, ring, registry, SUBMISSION) is not None
    author = SUBMISSION | {"worker_id": "author", "task_id": "t0"}
    assert find_mark(marked, ring, registry, author) is None
    early = SUBMISSION | {"submitted_at": AT - timedelta(days=1)}
    assert find_mark(marked, ring, registry, early) is None
