"""The collusion detector: deterministic windows, crews and dealings in each, one verdict a submission."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from detectors.collusion import wide
from detectors.collusion.crews import Crew, cases, crews, digest, evidence_of, proven_strength
from detectors.collusion.dealing import Dealing, dealings
from detectors.collusion.wide import Verdicts
from detectors.kit.findings import FindingsBuilder, canonical_json
from detectors.kit.graph.clusters import Cluster, Key, Link, Member
from pipeline.model import frames
from pipeline.ports import Batch, DetectorSpec, Example, Findings, Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """A grid of windows: each ``length`` long, one beginning every ``stride``.

    ``pad`` is how far beyond its own submissions a worker counts as active. A window of more than
    ``rows_max`` submissions is not judged with every batch; up to ``wide_max`` it is judged whole by the
    schedule, and told from what that found (``collusion.wide``).
    """

    name: str
    length: timedelta
    stride: timedelta
    pad: timedelta
    rows_max: int
    wide_max: int = 0


HORIZONS: Final = (
    Horizon(name="weeks", length=timedelta(days=28), stride=timedelta(days=14),
            pad=timedelta(days=3), rows_max=1_000_000, wide_max=10_000_000),
    Horizon(name="year", length=timedelta(days=364), stride=timedelta(days=182),
            pad=timedelta(days=45), rows_max=100_000),
)  # fmt: skip
"""Four weeks for crews that act now; a year for markets so thin that four weeks hold too little."""
STRENGTH_MIN: Final = 0.2
MEMO_MAX: Final = 16
WINDOWS_MAX: Final = 4
"""Windows whose digests are kept: as many as every part of a round asks for."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CollusionDetector:
    """Reports groups of workers and publishers that act as one."""

    spec = DetectorSpec(
        name="collusion",
        version="1",
        consumes=frozenset({"tasks", "workers"}),
        reason_codes=frozenset(
            {"collusion.dense_block", "collusion.lockstep", "collusion.self_dealing"}
        ),
    )

    def __init__(self) -> None:
        self._memo: OrderedDict[bytes, Verdicts] = OrderedDict()
        self._digested: list[tuple[pl.DataFrame, bytes]] = []

    def fingerprint(self, batch: Batch) -> pl.DataFrame:
        """Remember nothing: the window is the memory."""
        return frames.empty(frames.FINGERPRINTS)

    def touched(self, batch: Batch, past: Past) -> frozenset[str]:
        """Name the submissions whose verdict differs with and without this batch."""
        mine = batch.ids
        changed: set[str] = set()
        for horizon, since in windows_of(batch.submissions["submitted_at"]):
            if self._wide(past, horizon, since) is not None:
                continue  # the schedule names them
            window = self._window(past, horizon, since)
            now = self._judge(window, past, horizon)
            before = self._judge(window.filter(~pl.col("submission_id").is_in(mine)), past, horizon)
            changed |= {k[0] for k in now.keys() | before.keys() if now.get(k) != before.get(k)}
        return frozenset(changed) - frozenset(mine)

    def detect(self, batch: Batch, past: Past) -> Findings:
        """Judge the batch in every window that it lies in, and keep the surest verdict of each kind."""
        built = FindingsBuilder(self.spec)
        mine = set(batch.ids)
        best: dict[tuple[str, str], Mapping[str, Any]] = {}
        for horizon, since in windows_of(batch.submissions["submitted_at"]):
            verdicts = self._wide(past, horizon, since)
            if verdicts is None:
                verdicts = self._judge(self._window(past, horizon, since), past, horizon)
            for key, said in verdicts.items():
                if key[0] in mine and (key not in best or best[key]["strength"] < said["strength"]):
                    best[key] = said
        for (submission_id, code), said in best.items():
            built.signal(submission_id, code, **said)
        return built.build()

    @staticmethod
    def _window(past: Past, horizon: Horizon, since: datetime) -> pl.DataFrame:
        until = since + horizon.length
        return past.window(since=since, until=until, limit=horizon.rows_max + 1)

    def _wide(self, past: Past, horizon: Horizon, since: datetime) -> Verdicts | None:
        """What the schedule found of a window that is too large for every batch; None of any other."""
        told = past.asset(wide.name_of(horizon.name, since)) if horizon.wide_max else None
        if told is None:
            return None
        return self._remembered(b"wide" + hashlib.sha256(told).digest(), lambda: wide.unpack(told))

    def _judge(self, window: pl.DataFrame, past: Past, horizon: Horizon) -> Verdicts:
        """Judge one window. A pure function of the frame; remembered by its content."""
        if window.height > horizon.rows_max:
            return {}
        owners = owners_of(past, window)
        key = (
            self._digest(window)
            + canonical_json(owners.select("worker_id", "payout_account_hash").rows()).encode()
        )
        return self._remembered(
            key, lambda: verdicts_of(window, owners, list(cases(crews(window, pad=horizon.pad))))
        )

    def _digest(self, window: pl.DataFrame) -> bytes:
        """Digest a window, once for as long as the very same frame is shown."""
        for frame, known in self._digested:
            if frame is window:
                return known
        self._digested = [*self._digested[1 - WINDOWS_MAX :], (window, digest(window))]
        return self._digested[-1][1]

    def _remembered(self, key: bytes, made: Callable[[], Verdicts]) -> Verdicts:
        if key not in self._memo:
            self._memo[key] = made()
        self._memo.move_to_end(key)
        while len(self._memo) > MEMO_MAX:
            self._memo.popitem(last=False)
        return self._memo[key]

    def examples(self) -> Iterable[Example]:
        """A brushing crew, a publisher that pays itself, and a popular honest publisher."""
        at = datetime(2026, 3, 2, 9, tzinfo=UTC)
        market = _market(at)
        yield Example(
            title="five workers do the four tasks of one publisher within minutes, every time",
            tasks=tuple({"task_id": f"b{t}", "publisher_id": "brusher"} for t in range(4)),
            submissions=(
                *market,
                *(
                    {"submission_id": f"c{t}-{w}", "worker_id": f"crew{w}", "task_id": f"b{t}",
                     "submitted_at": at + timedelta(hours=11 * t, seconds=25 * w)}
                    for t in range(4) for w in range(5)
                ),
            ),
            expected={
                f"c{t}-{w}": frozenset({"collusion.dense_block", "collusion.lockstep"})
                for t in range(4) for w in range(5)
            },
        )  # fmt: skip
        yield Example(
            title="a publisher does its own task under its own account, and through a second one",
            tasks=({"task_id": "own", "publisher_id": "boss"},),
            workers=tuple({"worker_id": w, "payout_account_hash": "purse"} for w in ("boss", "w2")),
            submissions=(
                {"submission_id": "a", "worker_id": "boss", "task_id": "own"},
                {"submission_id": "b", "worker_id": "w2", "task_id": "own"},
                {"submission_id": "c", "worker_id": "w3", "task_id": "own"},
            ),
            expected={s: frozenset({"collusion.self_dealing"}) for s in ("a", "b")},
        )
        yield Example(title="a popular publisher and its many workers", submissions=market[:90])


def windows_of(times: pl.Series) -> list[tuple[Horizon, datetime]]:
    """Horizons and starts of the windows that hold these times: a fixed grid, no clock decides."""
    found = []
    for horizon in HORIZONS:
        last = {(t - EPOCH) // horizon.stride for t in times.unique().to_list()}
        overlap = horizon.length // horizon.stride
        begins = sorted({n - k for n in last for k in range(overlap)})
        found += [(horizon, EPOCH + i * horizon.stride) for i in begins]
    return found


def owners_of(past: Past, window: pl.DataFrame) -> pl.DataFrame:
    """The accounts that publish in a window under the id that they also work under: a WORKERS frame."""
    return past.workers(window["publisher_id"].drop_nulls().unique().sort().to_list())


def verdicts_of(
    window: pl.DataFrame, owners: pl.DataFrame, found: Sequence[tuple[Cluster, Sequence[Crew]]]
) -> Verdicts:
    """Say of whom a window's cases (``crews.cases``) and dealings speak, the surest of each kind."""
    verdicts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for cluster, inside in found:
        shown = cluster.evidence()
        for crew in inside:
            _tell_crew(verdicts, crew, proven_strength(crew, inside), shown)
    for dealing in dealings(window, owners):
        _tell_dealing(verdicts, dealing, window)
    return verdicts


def _tell_crew(
    verdicts: dict[tuple[str, str], Mapping[str, Any]],
    crew: Crew,
    strength: float,
    cluster: Mapping[str, Any],
) -> None:
    if strength < STRENGTH_MIN:
        return
    shared = evidence_of(crew) | {"cluster": cluster}
    first: dict[str, str] | None = None
    for row in crew.rows.iter_rows(named=True):
        mate = first
        if first is None:
            first = {"submission_id": row["submission_id"], "worker_id": row["worker_id"]}
        elif first["worker_id"] == row["worker_id"]:
            mate = _other(crew, row)
        key = (row["submission_id"], crew.code)
        if key in verdicts and verdicts[key]["strength"] >= strength:
            continue
        verdicts[key] = {
            "strength": strength,
            "p_value": crew.p_value,
            "matched_submission_id": mate and mate["submission_id"],
            "matched_worker_id": mate and mate["worker_id"],
            "evidence": shared,
        }


def _other(crew: Crew, row: Mapping[str, Any]) -> dict[str, str] | None:
    """The first submission of another member before this one, if there is one."""
    before = crew.rows.filter(
        pl.col("submitted_at") <= row["submitted_at"], pl.col("worker_id") != row["worker_id"]
    )
    if before.is_empty():
        return None
    return before.select("submission_id", "worker_id").row(0, named=True)


def _tell_dealing(
    verdicts: dict[tuple[str, str], Mapping[str, Any]], dealing: Dealing, window: pl.DataFrame
) -> None:
    rows = window.filter(
        pl.col("publisher_id") == dealing.publisher_id, pl.col("worker_id") == dealing.worker_id
    )
    money = (
        rows.drop_nulls(["currency", "bounty_minor"])
        .group_by("currency")
        .agg(pl.col("bounty_minor").sum())
    )
    cluster = _pair_cluster(dealing, rows, money)
    for sid in rows["submission_id"]:
        verdicts[(sid, "collusion.self_dealing")] = {
            "strength": dealing.strength,
            "p_value": dealing.p_value,
            "evidence": {
                "publisher_id": dealing.publisher_id,
                "how": dealing.how,
                "facts": dict(dealing.facts),
                "cluster": cluster,
            },
        }


def _pair_cluster(dealing: Dealing, rows: pl.DataFrame, money: pl.DataFrame) -> dict[str, Any]:
    at = rows["submitted_at"].sort()
    link = Link(
        a=dealing.publisher_id, b=dealing.worker_id, kind=dealing.how, weight=dealing.strength,
        count=rows.height, first_at=at[0], last_at=at[-1],
    )  # fmt: skip
    ids = sorted({dealing.publisher_id, dealing.worker_id})
    return Cluster(
        kind="self_dealing",
        members=tuple(
            Member(worker_id=w, first_at=at[0], last_at=at[-1], submissions=rows.height)
            for w in ids
        ),
        links=(link,),
        keys=(Key(kind="publisher", label=dealing.publisher_id, accounts=len(ids)),),
        confidence=dealing.strength,
        weakest=link,
        money={str(c): int(m) for c, m in money.iter_rows()},
        first_at=at[0],
        last_at=at[-1],
    ).evidence()


def _market(at: datetime) -> tuple[dict[str, Any], ...]:
    """A hundred and fifty workers who each do a few of twenty tasks, mostly of one popular publisher."""
    rows = []
    for w in range(150):
        for i in range(1 + w % 4):
            task = (7 * w + 5 * i * i + w * i) % 20
            rows.append(
                {"submission_id": f"m{w}-{i}", "worker_id": f"m{w}", "task_id": f"m{task}",
                 "submitted_at": at + timedelta(minutes=(97 * w + 571 * i * (w + 3)) % 20_000)}
            )  # fmt: skip
    return tuple(rows)
