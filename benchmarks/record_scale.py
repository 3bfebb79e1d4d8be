"""What a run of the line over one new batch asks a record that already knows very much.

    python benchmarks/record_scale.py --known 10000 100000 1000000

The record is filled by SQL with submissions that are judged and paid, one in a hundred held; then a batch of
new ones arrives, judged. Told in CPU seconds: ``settle_facts`` (what a settlement is planned from),
``counts``, ``held`` and ``days`` (what the page of a run shows), ``settle`` (the settlement of the batch) and
``settle_again`` (one with nothing to do). SQLite, one process.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
import sqlalchemy as sa  # noqa: E402

from pipeline.stages.settle import plan  # noqa: E402
from pipeline.stores import standing, tallies, unsettled  # noqa: E402
from pipeline.stores.database import Database, open_database  # noqa: E402
from pipeline.stores.ledger import Ledger  # noqa: E402
from pipeline.stores.ledger_facts import read_facts  # noqa: E402
from pipeline.stores.tables import ledger, record  # noqa: E402

SLOTS = 40
BATCH = 200
EPOCH_US = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1e6)
GAP_US = 300_000
ROWS = """
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {last})
"""
SUBMISSIONS = """
INSERT INTO submissions (submission_id, doc, task_id, worker_id, submitted_at, text, extra, row_digest)
{rows} SELECT printf('s%09d', i * 7919 % {whole}), i, 't' || (i / {slots}), 'w' || (i % ({whole} / 12)),
{epoch} + i * {gap}, '', '{{}}', '' FROM n
"""
ASSESSMENTS = """
INSERT INTO assessments (submission_id, revision, score, risk_level, outcome, reason_codes, signals,
abstentions, arithmetic, ruleset_digest, detector_versions, input_digest, evaluated_at, evaluation_status)
{rows} SELECT printf('s%09d', i * 7919 % {whole}), 1, 3, 'normal',
CASE WHEN i % 100 THEN 'approve' ELSE 'block_and_review' END, '[]', '[]', '[]', '{{}}', 'r', '{{}}', '',
{epoch}, 'new' FROM n
"""
MEMBERS = """
INSERT INTO payout_members (submission_id, payout_key)
{rows} SELECT printf('s%09d', i * 7919 % {whole}), printf('p%09d', i * 104729 % {whole}) FROM n
"""
PAYOUTS = """
INSERT INTO payouts (payout_key, task_id, worker_id, submission_id, revision, amount_minor, currency,
funded_minor, attempt, state, disbursements, case_id, case_kind, case_state, decided_codes, changed_at)
{rows} SELECT printf('p%09d', i * 104729 % {whole}), 't' || (i / {slots}), 'w' || (i % ({whole} / 12)),
printf('s%09d', i * 7919 % {whole}), 1, 500, 'CNY', 0, 1, CASE WHEN i % 100 THEN 'posted' ELSE 'held' END, 1,
CASE WHEN i % 100 THEN NULL ELSE 'c' || i END, CASE WHEN i % 100 THEN NULL ELSE 'hold' END,
CASE WHEN i % 100 THEN NULL ELSE 'open' END, '[]', {epoch} FROM n
"""
TASKS = """
INSERT INTO tasks (task_id, publisher_id, bounty_minor, currency, reference_digests, extra, row_digest)
{rows} SELECT 't' || i, 'p' || (i % 997), 500, 'CNY', '[]', '{{}}', '' FROM n
"""


def fill(database: Database, known: int) -> None:
    """Write ``known`` settled submissions and a batch that is judged and not settled."""
    whole = known + BATCH
    more = {"whole": whole, "slots": SLOTS, "epoch": EPOCH_US, "gap": GAP_US}
    with database.write() as connection:
        for statement, last in (
            (TASKS, whole // SLOTS + 1), (SUBMISSIONS, whole), (ASSESSMENTS, whole),
            (MEMBERS, known), (PAYOUTS, known),
        ):  # fmt: skip
            rows = ROWS.format(first=0, last=last)
            connection.exec_driver_sql(statement.format(rows=rows, **more))
        ids = list(connection.execute(sa.select(record.submissions.c.submission_id)).scalars())
        tallies.arrived(connection, ids)
        tallies.judged(connection, ids)
        members = connection.execute(sa.select(ledger.payout_members.c.submission_id)).scalars()
        unsettled.mark(connection, set(ids) - set(members))
        connection.execute(sa.text("ANALYZE"))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the best of three, and the result."""
    best, told = float("inf"), None
    for _ in range(3):
        begun = time.process_time()
        told = work()
        best = min(best, time.process_time() - begun)
    return round(best, 4), told


def measure(known: int, folder: Path) -> dict[str, Any]:
    """Fill a record and time what a run asks of it."""
    database = open_database(f"sqlite:///{folder / f'{known}.db'}")
    fill(database, known)
    newest = datetime.fromtimestamp((EPOCH_US + (known + BATCH) * GAP_US) / 1e6, UTC)
    month = newest - timedelta(days=30)
    facts_s, facts = timed(lambda: read_facts(database))
    told = {
        "known": known, "batch": BATCH, "settle_facts_s": facts_s,
        "facts_rows": facts.submissions.height, "actions": len(plan(facts).actions),
        "counts_s": timed(lambda: standing.counts(database))[0],
        "held_s": timed(lambda: standing.held(database))[0],
        "days_s": timed(lambda: standing.days(database, since=month, until=newest))[0],
    }  # fmt: skip
    books = Ledger(database, lambda: newest)
    for name in ("settle_s", "settle_again_s"):
        begun = time.process_time()
        books.settle(plan)
        told[name] = round(time.process_time() - begun, 4)
    database.close()
    return told


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--known", type=int, nargs="+", default=[10_000, 100_000])
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for known in told.known:
            print(json.dumps(measure(known, Path(folder))), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
