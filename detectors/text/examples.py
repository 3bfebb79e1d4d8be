"""Inputs of the text room with the findings that they must give."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from pipeline.ports import Example

_AT: Final = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(8)]
_REVIEW: Final = (
    "The room looked out on the harbour and was quiet all night. Breakfast was simple but fresh, "
    "and the woman at the desk lent us an umbrella when it rained on the second morning."
)
_OTHER: Final = (
    "We came by train and walked up from the station in ten minutes. The lift was out of order, our "
    "bags were carried for us, and the bathroom had been renovated not long ago."
)
_ZH: Final = (
    "周末和家人一起来住，房间比照片上还要宽敞，窗外就是湖，早上有很多人在散步。"
    "前台的小伙子很热心，帮我们把行李送到楼上，还推荐了附近一家做面的小店。"
)
_ZH_TRADITIONAL: Final = (
    "週末和家人一起來住，房間比照片上還要寬敞，窗外就是湖，早上有很多人在散步。"
    "前台的小夥子很熱心，幫我們把行李送到樓上，還推薦了附近一家做麵的小店。"
)
_LEET: Final = str.maketrans("oeiast", "031457")
_BRIEF: Final = (
    "Write about your stay. Quote our promise word for word: every guest is a neighbour who has "
    "come a long way, and nobody leaves our table hungry."
)
_PROMISE: Final = (
    "Every guest is a neighbour who has come a long way, and nobody leaves our table hungry. "
)


def examples() -> Iterable[Example]:
    """Copies, disguises, and honest texts that look alike."""
    near, contained = frozenset({"text.near_duplicate"}), frozenset({"text.contained"})
    yield Example(
        title="the later of two equal texts is accused, whoever arrives first",
        submissions=(
            {"submission_id": "b", "worker_id": "w2", "submitted_at": _AT[1], "text": _REVIEW},
            {"submission_id": "a", "worker_id": "w1", "submitted_at": _AT[0], "text": _REVIEW},
        ),
        expected={"b": near},
        matched={"b": "a"},
    )
    yield Example(
        title="traditional characters do not hide a copy of simplified ones",
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": _ZH},
            {"submission_id": "b", "submitted_at": _AT[1], "text": _ZH_TRADITIONAL},
        ),
        expected={"b": near},
        matched={"b": "a"},
    )
    yield Example(
        title="zero-width characters are named, and the copy behind them is found",
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": _REVIEW},
            {"submission_id": "b", "submitted_at": _AT[1], "text": "\u200b".join(_REVIEW)},
        ),
        expected={"b": near | {"text.hidden_characters"}},
        matched={"b": "a"},
    )
    yield Example(
        title="digits for letters, entities and empty tags do not hide a copy",
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": _REVIEW},
            {"submission_id": "b", "submitted_at": _AT[1], "text": _REVIEW.translate(_LEET)},
            {"submission_id": "c", "submitted_at": _AT[2], "text": _ZH},
            {
                "submission_id": "d",
                "submitted_at": _AT[3],
                "text": "".join(f"&#{ord(c)};" for c in _ZH),
            },
            {"submission_id": "e", "submitted_at": _AT[4], "text": "<b></b>".join(_OTHER)},
            {"submission_id": "f", "submitted_at": _AT[5], "text": _OTHER},
        ),
        expected={"b": near, "d": near, "f": near},
        matched={"b": "a", "d": "c", "f": "e"},
    )
    yield Example(
        title="a text merged of two sources names both",
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": _REVIEW},
            {"submission_id": "b", "submitted_at": _AT[1], "text": _OTHER},
            {"submission_id": "c", "submitted_at": _AT[2], "text": _REVIEW[:90] + _OTHER[80:]},
        ),
        expected={"c": contained | near},
        matched={"c": "b"},
    )
    yield Example(
        title="the text of an attachment is compared as well, and the page is named",
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": _REVIEW},
            {"submission_id": "b", "submitted_at": _AT[1],
             "files": (("report.txt", ("Our weekend\f" + _REVIEW).encode()),)},
        ),
        expected={"b": near},
        matched={"b": "a"},
    )  # fmt: skip
    yield Example(
        title="a worker's own revision is never accused of copying itself",
        submissions=(
            {"submission_id": "a", "worker_id": "w1", "submitted_at": _AT[0], "text": _REVIEW},
            {"submission_id": "b", "worker_id": "w1", "submitted_at": _AT[1], "supersedes": "a",
             "text": _REVIEW + " We would come again."},
        ),
    )  # fmt: skip
    yield Example(
        title="a slogan that the brief asks for accuses nobody",
        tasks=({"task_id": "t", "brief": _BRIEF},),
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": _PROMISE + _REVIEW},
            {"submission_id": "b", "submitted_at": _AT[1], "text": _PROMISE + _OTHER},
        ),
    )
    yield Example(
        title="the brief handed back is no work",
        tasks=({"task_id": "t", "brief": _BRIEF},),
        submissions=({"submission_id": "a", "submitted_at": _AT[0], "text": _BRIEF},),
        expected={"a": frozenset({"text.template_only"})},
    )
    yield Example(
        title="a phrase that the task planted is found however it is spelt",
        tasks=({"task_id": "t", "extra": '{"canaries": ["violet paperweight"]}'},),
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0],
             "text": _OTHER + " There was a Violet  Paper-weight on the desk."},
            {"submission_id": "b", "submitted_at": _AT[1], "text": _REVIEW},
        ),
        expected={"a": frozenset({"text.canary"})},
    )  # fmt: skip
    yield Example(
        title="everybody's short answer accuses nobody",
        submissions=(
            {"submission_id": "a", "submitted_at": _AT[0], "text": "会推荐给朋友"},
            {"submission_id": "b", "submitted_at": _AT[1], "text": "会推荐给朋友！"},
        ),
    )
