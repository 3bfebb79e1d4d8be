"""The line: ingest → detect → score → decide → credit → settle, as the command line and flows run it.

Each step is idempotent by key and begins where the record says that it stopped, so a run that was
killed at any moment and is run again ends where an undisturbed one does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipeline.assess import rejudge
from pipeline.bootstrap import House
from pipeline.model import frames
from pipeline.model.decisions import OUTCOMES, PAYS
from pipeline.model.errors import UsageError
from pipeline.model.money import SettleReport
from pipeline.parts import SpreadHands, Submit, pool_of
from pipeline.ports import Batch
from pipeline.review.drift import Drift, drift
from pipeline.rounds import OwnHands, work_off
from pipeline.rulebook import Rulebook
from pipeline.rulebook.backtest import RECORD, Backtest, backtest
from pipeline.rulebook.facts import ScoreFacts
from pipeline.stages.ingest import IngestReport, ingest
from pipeline.stages.settle import plan
from pipeline.stores import standing
from pipeline.stores.drops import FolderDrop
from pipeline.stores.exports import export

Progress = Callable[[str, int], None]
CALIBRATION = "trajectory.calibration"
"""Written last: while it is absent, a calibration that was killed is made again."""
MODEL = "trajectory.model"
STROKES = "trajectory.stroke"
"""The kind of fingerprint by which a replay is known; evicted by age."""
CALIBRATE_ON = 20_000
"""Submissions, the newest, that a calibration rests on."""
TRAIN_PICTURES_MAX = 3_000
"""Pictures, the newest, that a vocabulary is trained on."""
PICTURE_BYTES_MAX = 20_000_000
WATCH_ON, WATCH_EVERY = 600, 100
"""A calibration is held against at most so many hand-ins, and not anew for fewer."""
SPREAD_FROM = 2_000
"""Submissions from which starting processes, some seconds of each, is worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyRow:
    """Of one currency, in minor units: the bounties that pay, are held, are declined."""

    currency: str
    paid_minor: int
    held_minor: int
    declined_minor: int

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--format json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReport:
    """What a run did: what came in, how it was decided, what is held and why."""

    ingest: IngestReport
    assessed: int
    outcomes: Mapping[str, int]
    money: Sequence[MoneyRow]
    held: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--format json`` and for artifacts."""
        return {
            "ingest": self.ingest.as_json(),
            "assessed": self.assessed,
            "outcomes": dict(self.outcomes),
            "money": [m.as_json() for m in self.money],
            "held": [dict(h) for h in self.held],
        }


def take_in(
    house: House, drop: Path, *, progress: Progress = lambda step, count: None
) -> IngestReport:
    """Ingest a drop."""
    return ingest(FolderDrop(drop), house.intake, house.decoder, progress=progress)


def judge(
    house: House,
    *,
    submit: Submit | None = None,
    progress: Progress = lambda step, count: None,
) -> int:
    """Detect, score and decide all that waits; return how many assessments were added.

    ``submit`` has parts done by other processes; without it, and with enough to do for more than one,
    ``BOUNTYGUARD_WORKERS`` of this machine are started.
    """
    waiting = sum(house.work.waiting(depth) for depth in range(3))
    if submit is None and house.settings.workers > 1 and waiting >= SPREAD_FROM:
        with pool_of(house.settings) as pool:
            return judge(house, submit=pool, progress=progress)
    bench = house.bench()
    house.rulebooks.keep(bench.rulebook)
    own = OwnHands(house.work, house.known, bench)
    return work_off(
        house.work,
        house.known,
        bench,
        hands=SpreadHands(house, own, submit) if submit else own,
        part=house.settings.part,
        now=house.settings.now(),
        progress=progress,
        between=lambda: _calibrated(house),
    )


def calibrate(house: House, *, always: bool = False) -> tuple[str, ...]:
    """Fit what is fitted on the platform's own people, where that is due; return the asset names.

    It is due where nothing was fitted yet, and where twice as many submissions are known as then;
    between these the assets are pinned, so that a finding depends on what was handed in and on a
    named asset, and not on the order of arrival. A scheduled flow fits them ``always``. Whatever was
    judged by older assets is queued to be judged again.
    """
    return _fit(house, house.known.count(), always=always)


def _fit(house: House, known: int, *, always: bool) -> tuple[str, ...]:
    fitted = house.assets.note(CALIBRATION)
    before = orjson.loads(fitted)["submissions"] if fitted else 0
    if not always and known < max(1, 2 * before):
        return ()
    from detectors.identity import HAND, fit_hands
    from detectors.trajectory import refit

    some = house.known.latest(CALIBRATE_ON)
    ids = some["submission_id"].to_list()
    tasks = house.known.tasks(some["task_id"].unique().to_list())
    try:
        made = refit(
            house.assets.get(MODEL), house.known.submissions(ids), tasks, house.known.events(ids)
        )
    except ValueError:
        return ()  # too few people to tell what people do: the room goes on abstaining
    made = {**made, **fit_hands(house.known.submissions(ids), house.known.fingerprints(HAND, ids))}
    note = orjson.dumps({"submissions": known}).decode()
    was = {name: house.assets.digest(name) for name in made}
    for name in sorted(made, key=lambda n: n == CALIBRATION):
        house.assets.put(name, made[name], note=note, now=house.settings.now())
    if any(was[name] not in (None, house.assets.digest(name)) for name in made):
        house.work.queue_all(depth=1)
    return tuple(sorted(made))


def facts(house: House, book: Rulebook, only: Sequence[str] | None = None) -> ScoreFacts:
    """Gather what is known of every assessed submission, as the rules of ``book`` would read it.

    ``only`` names the submissions that are wanted; without it, all.
    """
    ids = list(only) if only is not None else _assessed(house)
    submissions = house.known.submissions(ids)
    batch = Batch(
        submissions=submissions,
        contents=house.known.contents(ids),
        tasks=house.known.tasks(submissions["task_id"].unique().to_list()),
        workers=house.known.workers(submissions["worker_id"].unique().to_list()),
        events=frames.empty(frames.EVENTS),
        blobs=house.blobs,
        decoder=house.decoder,
    )
    signals, abstentions, _ = house.work.findings(ids)
    return ScoreFacts(
        submissions=submissions,
        tasks=batch.tasks,
        workers=batch.workers,
        signals=signals,
        abstentions=abstentions,
        **house.circumstances.of(batch, signals, book.counters),
    )


def backtest_of(
    house: House,
    book: Rulebook,
    *,
    truth: Path | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Backtest:
    """Say what a rulebook would have done in a window: money, people, precision, recall, overturns.

    Labels come from ``truth``, or else from what people finally decided.
    """
    labels = truth_labels(truth) if truth is not None else labels_of(house)
    record = pl.DataFrame(
        [(r.rule, r.decided, r.overturned) for r in house.ledger.rule_records()],
        schema=dict(RECORD), orient="row",
    )  # fmt: skip
    return backtest(
        facts(house, book), book, rejudge, labels=labels, record=record, since=since, until=until
    )


def _assessed(house: House) -> list[str]:
    return export(house.database, "assessments")["submission_id"].to_list()


def truth_rows(path: Path) -> list[dict[str, Any]]:
    """Read a truth file of the contract. Raises ``UsageError`` where it is absent or is none."""
    try:
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise UsageError("truth.absent", f"{path} cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError("truth.malformed", f"{path} is not JSON Lines: {error}") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not {"submission_id", "label"} <= row.keys():
            told = f"row {number} of {path} has no submission_id or label"
            raise UsageError("truth.malformed", told)
    return rows


def truth_labels(path: Path) -> pl.DataFrame:
    """Read ``submission_id``, ``label`` and ``kinds`` of a truth file; the ambiguous count nowhere."""
    rows = [
        (row["submission_id"], row["label"], row.get("kinds") or [])
        for row in truth_rows(path)
        if not row.get("ambiguous")
    ]
    schema = pl.Schema(
        {"submission_id": pl.String(), "label": pl.String(), "kinds": pl.List(pl.String())}
    )
    return pl.DataFrame(rows, schema=schema, orient="row")


def labels_of(house: House) -> pl.DataFrame:
    """Read labels from final decisions: confirmed is fraud, overturned is honest."""
    cases = export(house.database, "cases", more=house.ledger.exports())
    label = pl.col("state").replace_strict(
        {"confirmed": "fraud", "overturned": "honest"}, default=None, return_dtype=pl.String
    )
    return cases.select("submission_id", label.alias("label")).drop_nulls().unique("submission_id")


def drift_of(
    house: House, *, days: int = 1, reference_days: int = 28, until: datetime | None = None
) -> list[Drift]:
    """Compare the findings and scores of the last days, by hand-in, with the window before them.

    ``until`` is by default just after the newest hand-in. Raises ``UsageError`` where there is none.
    """
    newest = until or house.known.newest()
    if newest is None:
        raise UsageError("drift.nothing", "nothing was handed in yet")
    end = until or newest + timedelta(microseconds=1)
    cut = end - timedelta(days=days)
    start = cut - timedelta(days=reference_days)
    return drift(_found(house, start, cut), _found(house, cut, end))


def _found(house: House, since: datetime, until: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    ids = house.known.window(since=since, until=until).select("submission_id")
    signals = export(house.database, "signals").join(ids, on="submission_id", how="semi")
    return signals, export(house.database, "assessments").join(ids, on="submission_id", how="semi")


def learn_trajectory(house: House, truth: Path) -> tuple[str, ...]:
    """Fit the model of automation on labelled submissions that are known; queue what it may change.

    ``truth`` is a truth file; its honest submissions are the people of the calibration. Raises
    ``UsageError`` where too few people are labelled.
    """
    from detectors.trajectory.model import ASSET
    from detectors.trajectory.training import calibrate as calibrate_on
    from detectors.trajectory.training import train

    labels = truth_labels(truth)
    known = house.known.submissions(labels["submission_id"].to_list())
    tasks = house.known.tasks(known["task_id"].unique().to_list())
    events = house.known.events(known["submission_id"].to_list())
    try:
        model = train(known, tasks, events, labels)
    except ValueError as error:
        raise UsageError("train.too_few", str(error)) from error
    honest = labels.filter(pl.col("label") == "honest")["submission_id"].to_list()
    made = {ASSET: model, CALIBRATION: calibrate_on(model, known, tasks, events, honest=honest)}
    note = orjson.dumps({"submissions": house.known.count()}).decode()
    for name, data in made.items():
        house.assets.put(name, data, note=note, now=house.settings.now())
    house.work.queue_all(depth=1)
    return tuple(made)


def learn_pictures(house: House, folder: Path | None = None) -> str:
    """Train the words that pictures are looked up by; return the vocabulary's digest.

    On the files below ``folder``, or on the newest that were handed in; what is no picture is passed
    over. Everything known is queued to be fingerprinted by the new words. Raises ``UsageError`` where
    the pictures hold too few features.
    """
    from detectors.image import vocabulary
    from detectors.image.views import greys

    files = _handed_in(house) if folder is None else _below(folder)
    try:
        made = vocabulary.train(greys(files, house.decoder))
    except ValueError as error:
        raise UsageError("train.too_few", str(error)) from error
    keep_vocabulary(house, made.to_bytes())
    return made.digest


def keep_vocabulary(house: House, data: bytes) -> None:
    """Use this vocabulary from now on, and fingerprint everything anew where it is another."""
    from detectors.image.vocabulary import ASSET, shipped

    before = house.assets.get(ASSET) or shipped().to_bytes()
    house.assets.put(ASSET, data, note="", now=house.settings.now())
    if data != before:
        house.work.queue_all(depth=0)


def _below(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= PICTURE_BYTES_MAX:
            yield path.read_bytes()


def _handed_in(house: House) -> Iterator[bytes]:
    ids = house.known.latest(CALIBRATE_ON)["submission_id"].to_list()
    kept = house.known.contents(ids).filter(pl.col("media_type").str.starts_with("image/"))
    for digest in kept["digest"].unique(maintain_order=True).tail(TRAIN_PICTURES_MAX):
        yield house.blobs.get(digest)


def _calibrated(house: House) -> None:
    """Fit what is due, or else hold what was fitted against those who hand in now."""
    known = house.known.count()
    if not _fit(house, known, always=False):
        _watch(house, known)
    _judge_wide(house, known)


def _judge_wide(house: House, known: int) -> None:
    """Judge whole each window of the collusion room that is too large to be judged with every batch.

    Done the first time, and anew where the window has grown by a tenth since; the schedule does it
    hourly. Of whom another thing is said than before is queued.
    """
    from detectors.collusion import wide
    from detectors.collusion.room import EPOCH, HORIZONS, windows_of
    from detectors.collusion.sweep import judged_whole

    newest = house.known.newest()
    if newest is None or known <= min(h.rows_max for h in HORIZONS if h.wide_max):
        return
    days = standing.days(house.database, since=EPOCH, until=newest + timedelta(microseconds=1))
    at = pl.lit(EPOCH) + pl.duration(days=pl.col("day"))
    dated = days.select(at.alias("at"), "submissions")
    for horizon, since in windows_of(dated["at"]):
        inside = pl.col("at").is_between(since, since + horizon.length, closed="left")
        rows = int(dated.filter(inside)["submissions"].sum())
        name = wide.name_of(horizon.name, since)
        before = int(house.assets.get(f"{name}.size") or b"0")
        if not horizon.rows_max < rows <= horizon.wide_max or rows * 10 <= before * 11:
            continue
        told = wide.unpack(house.assets.get(name) or b"[]")
        packed = wide.pack(judged_whole(house.known, horizon, since))
        keep_wide(house, name, packed, rows)
        now = wide.unpack(packed)
        changed = {key[0] for key in told.keys() | now.keys() if told.get(key) != now.get(key)}
        house.work.queue(changed, depth=1)


def keep_wide(house: House, name: str, verdicts: bytes, submissions: int) -> None:
    """Keep what is said of a large window of the collusion room, and of how many submissions.

    The number is kept beside it: a window that grew, and of which the same is said, is told apart.
    """
    for asset, data in ((name, verdicts), (f"{name}.size", b"%d" % submissions)):
        house.assets.put(asset, data, note=f"{submissions} submissions", now=house.settings.now())


def _watch(house: House, known: int) -> None:
    """Withdraw a calibration that does not hold for what waits: the room abstains till the next one.

    Small batches are gathered: with every ``WATCH_EVERY`` hand-ins the newest are looked at.
    """
    looked = [ticket.submission_id for ticket in house.work.next(1, WATCH_ON)]
    if len(looked) < WATCH_EVERY:
        if known // WATCH_EVERY == (known - len(looked)) // WATCH_EVERY:
            return
        looked = house.known.latest(3 * WATCH_EVERY)["submission_id"].to_list()
    assets = {n: d for n in (MODEL, CALIBRATION) if (d := house.assets.get(n)) is not None}
    from detectors.trajectory import withdraw

    submissions = house.known.submissions(looked)
    tasks = house.known.tasks(submissions["task_id"].unique().to_list())
    try:
        left = withdraw(assets, submissions, tasks, house.known.events(looked))
    except ValueError:
        return  # an asset of an older program: the room refuses it, and says so
    if left is not None:
        note = house.assets.note(CALIBRATION) or ""
        house.assets.put(CALIBRATION, left, note=note, now=house.settings.now())
        house.work.queue_all(depth=1)


def settle(house: House, *, progress: Progress = lambda step, count: None) -> SettleReport:
    """Move credit and money as decided: post, hold or void each payout, once."""
    return house.ledger.settle(plan, progress=progress)


def run_line(
    house: House,
    drop: Path,
    *,
    pay: bool = True,
    progress: Progress = lambda step, count: None,
) -> LineReport:
    """Take a drop through the whole line."""
    taken = take_in(house, drop, progress=progress)
    assessed = judge(house, progress=progress)
    if pay:
        settle(house, progress=progress)
    return report(house, taken, assessed)


def report(house: House, taken: IngestReport, assessed: int) -> LineReport:
    """Say where everything stands: outcomes, money, and what is held."""
    counts = standing.counts(house.database)
    of = dict(counts.group_by("outcome").agg(pl.col("submissions").sum()).iter_rows())
    return LineReport(
        ingest=taken,
        assessed=assessed,
        outcomes={name: of.get(name, 0) for name in OUTCOMES},
        money=_money(counts),
        held=_held(standing.held(house.database)),
    )


def _money(counts: pl.DataFrame) -> list[MoneyRow]:
    rows = []
    for currency, group in sorted(
        (str(k[0]), g) for k, g in counts.drop_nulls("currency").group_by("currency")
    ):
        of = {
            name: int(group.filter(where)["bounty_minor"].sum())
            for name, where in {
                "paid_minor": pl.col("outcome").is_in(sorted(PAYS)),
                "held_minor": pl.col("outcome") == "block_and_review",
                "declined_minor": pl.col("outcome") == "decline",
            }.items()
        }
        rows.append(MoneyRow(currency=currency, **of))
    return rows


def _held(held: pl.DataFrame) -> list[dict[str, Any]]:
    ranked = held.sort(["score", "submission_id"], descending=[True, False])
    return [
        {
            "submission_id": row["submission_id"],
            "outcome": row["outcome"],
            "score": row["score"],
            "because": " ".join(row["reason_codes"]),
            "matched": row["matched"],
            "case_id": row["case_id"],
        }
        for row in ranked.iter_rows(named=True)
    ]
