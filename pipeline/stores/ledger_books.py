"""The open books: one writing transaction over accounts, transfers, payouts, credit and the audit chain.

Everything is read under the head's row lock, worked out in memory, and written when the books close;
the database's keys and checks stand behind every rule that is kept here. Transfers follow TigerBeetle's
two phases: pending, then post, void or expire, once. Nothing is updated in place but sums.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.model.errors import LedgerError
from pipeline.model.money import AMOUNT_MAX, CREDIT_KINDS, GUARDED, TAKES_A_SLOT, AccountKind
from pipeline.review.holdback import NOTHING_KEPT, Holdback
from pipeline.stores import audit, unsettled
from pipeline.stores.database import Database, insert_rows
from pipeline.stores.fetch import IDS_PER_QUERY, among
from pipeline.stores.tables import ledger as tables
from pipeline.stores.tables import metadata

SUMS: Final = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
SYSTEM: Final = "system"


def plain_clause(rule: str) -> Mapping[str, str]:
    """Name a rule whose text is not known, by language."""
    return {
        "en": f"the rule {rule} of the platform's rulebook",
        "zh": f"平台规则手册中的规则 {rule}",
    }


def account_id(kind: AccountKind, owner: str, currency: str) -> str:
    """Name an account. The owner stands last, because it may hold any character."""
    return f"{kind}:{currency}:{owner}"


class Books:
    """The books while they are open. Made by ``Ledger`` inside one write transaction."""

    def __init__(
        self,
        connection: Connection,
        database: Database,
        now: datetime,
        clause: Callable[[str], Mapping[str, str]] = plain_clause,
        holdback: Holdback = NOTHING_KEPT,
    ) -> None:
        self.connection = connection
        self.holdback = holdback
        self.database = database
        self.now = now
        self.clause = clause
        locked = connection.execute(
            sa.update(tables.heads)
            .where(tables.heads.c.name == "ledger")
            .values(sequence=tables.heads.c.sequence)
            .returning(
                tables.heads.c.sequence, tables.heads.c.audit_sequence, tables.heads.c.audit_hash
            )
        ).one()
        self._sequence = int(locked.sequence)
        self._audit_sequence = int(locked.audit_sequence)
        self._audit_hash = str(locked.audit_hash)
        self._accounts: dict[str, dict[str, Any]] = {}
        self._known_accounts: set[str] = set()
        self._asked_accounts: set[str] = set()
        self._moved_accounts: set[str] = set()
        self._payouts: dict[str, dict[str, Any] | None] = {}
        self._changed: set[str] = set()
        self._known_payouts: set[str] = set()
        self._members: dict[str, str | None] = {}
        self._made: dict[str, dict[str, Any]] = {}
        self._ended: set[str] = set()
        self._places: dict[str, Counter[str]] = {}
        self._stood: dict[str, str | None] = {}
        self._paid_of: dict[str, set[str]] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}

    # --- reading ---------------------------------------------------------------------------

    def load(self, payout_keys: Iterable[str], accounts: Iterable[str] = ()) -> None:
        """Read payouts and accounts in bulk, so that what follows asks the database nothing."""
        keys = sorted({k for k in payout_keys if k not in self._payouts})
        for some in _chunks(keys):
            found = self.connection.execute(
                sa.select(tables.payouts).where(among(tables.payouts.c.payout_key, some))
            ).mappings()
            for row in found:
                self._payouts[row["payout_key"]] = dict(row)
                self._known_payouts.add(row["payout_key"])
        for key in keys:
            self._payouts.setdefault(key, None)
        wanted = {a for a in accounts if a not in self._asked_accounts}
        self._asked_accounts |= wanted
        for some in _chunks(sorted(wanted)):
            rows = self.connection.execute(
                sa.select(tables.accounts).where(among(tables.accounts.c.account_id, some))
            ).mappings()
            for row in rows:
                self._accounts[row["account_id"]] = dict(row)
                self._known_accounts.add(row["account_id"])

    def payout(self, key: str) -> dict[str, Any] | None:
        """Return a payout's row as it stands inside these books; None where there is none."""
        if key not in self._payouts:
            self.load([key])
        return self._payouts[key]

    def load_members(self, submission_ids: Iterable[str]) -> None:
        """Read in bulk which payouts submissions belong to."""
        table = tables.payout_members.c
        wanted = sorted({s for s in submission_ids if s not in self._members})
        for some in _chunks(wanted):
            found = self.connection.execute(
                sa.select(table.submission_id, table.payout_key).where(
                    among(table.submission_id, some)
                )
            )
            self._members.update({s: k for s, k in found})
        for name in wanted:
            self._members.setdefault(name, None)

    def member(self, submission_id: str) -> str | None:
        """Return the payout that a submission belongs to; None where it was never acted upon."""
        if submission_id not in self._members:
            self.load_members([submission_id])
        return self._members[submission_id]

    def enrol(self, submission_id: str, payout_key: str) -> bool:
        """Make a submission part of a payout; False where it is part of another one already."""
        known = self.member(submission_id)
        if known is None:
            self._members[submission_id] = payout_key
            self.add(
                tables.payout_members, {"submission_id": submission_id, "payout_key": payout_key}
            )
            return True
        return known == payout_key

    def slots_taken(self, task_id: str, states: Iterable[str]) -> int:
        """Count the payouts of a task in those states, as they stand inside these books."""
        self.load_tasks([task_id])
        return sum(self._places[task_id][state] for state in set(states))

    def load_tasks(self, task_ids: Iterable[str]) -> None:
        """Count in bulk the payouts of tasks by state, so that places are told from memory."""
        table = tables.payouts.c
        wanted = sorted({t for t in task_ids if t not in self._places})
        if not wanted:
            return
        self._places.update({task_id: Counter() for task_id in wanted})
        for some in _chunks(wanted):
            query = (
                sa.select(table.task_id, table.state, sa.func.count())
                .where(among(table.task_id, some))
                .group_by(table.task_id, table.state)
            )
            for task_id, state, count in self.connection.execute(query):
                self._places[task_id][state] = count
        new = set(wanted)
        for key, before in self._stood.items():
            row = self._payouts[key]
            if row is not None and row["task_id"] in new:
                self._move(row["task_id"], before, row["state"])

    def _move(self, task_id: str, before: str | None, after: str) -> None:
        if before is not None:
            self._places[task_id][before] -= 1
        self._places[task_id][after] += 1

    def paid_count(self, worker_id: str, *, other_than: str) -> int:
        """Count a worker's other payouts that were paid, as they stand inside these books."""
        if worker_id not in self._paid_of:
            table = tables.payouts.c
            query = sa.select(table.payout_key).where(
                table.worker_id == worker_id, table.state == "posted"
            )
            found = set(self.connection.execute(query).scalars())
            ours = (row for row in self._payouts.values() if row and row["worker_id"] == worker_id)
            self._paid_of[worker_id] = found | {
                row["payout_key"] for row in ours if row["state"] == "posted"
            }
        return len(self._paid_of[worker_id] - {other_than})

    def put_payout(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Write a payout's row."""
        made = dict(row) | {"changed_at": self.now}
        was = self.payout(made["payout_key"])
        before = was["state"] if was else None
        self._stood.setdefault(made["payout_key"], before)
        if made["state"] == "posted" and made["worker_id"] in self._paid_of:
            self._paid_of[made["worker_id"]].add(made["payout_key"])
        self._payouts[made["payout_key"]] = made
        if made["task_id"] in self._places:
            self._move(made["task_id"], before, made["state"])
        self._changed.add(made["payout_key"])
        return made

    def account(self, kind: AccountKind, owner: str, currency: str) -> dict[str, Any]:
        """Return an account's row as it stands inside these books, opened if need be."""
        name = account_id(kind, owner, currency)
        if name not in self._asked_accounts:
            self.load((), [name])
        if name not in self._accounts:
            self._accounts[name] = {
                "account_id": name, "kind": kind, "owner": owner, "currency": currency,
                "guarded": kind in GUARDED, **dict.fromkeys(SUMS, 0),
            }  # fmt: skip
        return self._accounts[name]

    def transfer_row(self, transfer_id: str) -> dict[str, Any] | None:
        """Return a transfer, made inside these books or before."""
        if transfer_id in self._made:
            return self._made[transfer_id]
        found = self.connection.execute(
            sa.select(tables.transfers).where(tables.transfers.c.transfer_id == transfer_id)
        ).mappings()
        row = found.one_or_none()
        return dict(row) if row else None

    def transfers_of(self, payout_key: str) -> list[dict[str, Any]]:
        """Return a payout's transfers, made inside these books or before, in their order."""
        query = sa.select(tables.transfers).where(tables.transfers.c.payout_key == payout_key)
        before = [dict(row) for row in self.connection.execute(query).mappings()]
        ours = [row for row in self._made.values() if row["payout_key"] == payout_key]
        return sorted(before + ours, key=lambda row: row["sequence"])

    # --- money -----------------------------------------------------------------------------

    def transfer(
        self,
        transfer_id: str,
        kind: str,
        debit: Mapping[str, Any],
        credit: Mapping[str, Any],
        amount_minor: int,
        *,
        pending: bool = False,
        payout: Mapping[str, Any] | None = None,
        decision_id: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Move money, or reserve it where ``pending``.

        Raises ``LedgerError``: ``transfer.amount``, ``transfer.currency``, ``transfer.overdrawn``.
        """
        if not 0 < amount_minor <= AMOUNT_MAX:
            raise LedgerError("transfer.amount", f"{amount_minor} is no amount to move")
        if debit["currency"] != credit["currency"]:
            raise LedgerError("transfer.currency", "an account has one currency")
        free = debit["credits_posted"] - debit["debits_posted"] - debit["debits_pending"]
        if debit["guarded"] and free < amount_minor:
            raise LedgerError(
                "transfer.overdrawn",
                f"{debit['account_id']} has {free} free, {amount_minor} are wanted",
            )
        side = "pending" if pending else "posted"
        debit_row, credit_row = self._moved(debit["account_id"]), self._moved(credit["account_id"])
        debit_row[f"debits_{side}"] += amount_minor
        credit_row[f"credits_{side}"] += amount_minor
        self._add_transfer(
            transfer_id, kind, "pending" if pending else "single", debit["account_id"],
            credit["account_id"], amount_minor, debit["currency"], payout, decision_id,
            expires_at=expires_at,
        )  # fmt: skip

    def resolve(
        self,
        pending_id: str,
        phase: str,
        *,
        amount_minor: int | None = None,
        payout: Mapping[str, Any] | None = None,
        decision_id: str | None = None,
    ) -> None:
        """End a pending transfer once: ``post`` (all of it or a part), ``void`` or ``expire``.

        Raises ``LedgerError``: ``transfer.unknown``, ``transfer.resolved``, ``transfer.amount``.
        """
        held = self.transfer_row(pending_id)
        if held is None or held["phase"] != "pending":
            raise LedgerError("transfer.unknown", f"{pending_id} is no pending transfer")
        if self.is_resolved(pending_id):
            raise LedgerError("transfer.resolved", f"{pending_id} is resolved already")
        whole = held["amount_minor"]
        moved = (whole if amount_minor is None else amount_minor) if phase == "post" else 0
        if phase == "post" and not 0 < moved <= whole:
            raise LedgerError("transfer.amount", f"{moved} of {whole} cannot be posted")
        debit, credit = self._moved(held["debit_account"]), self._moved(held["credit_account"])
        debit["debits_pending"] -= whole
        credit["credits_pending"] -= whole
        debit["debits_posted"] += moved
        credit["credits_posted"] += moved
        self._add_transfer(
            f"{pending_id}:{phase}", held["kind"], phase, held["debit_account"],
            held["credit_account"], moved, held["currency"], payout, decision_id,
            pending_id=pending_id,
        )  # fmt: skip

    def is_resolved(self, pending_id: str) -> bool:
        """Tell whether a pending transfer has been posted, voided or has expired."""
        if pending_id in self._ended or pending_id in self._made:
            return pending_id in self._ended
        query = sa.select(tables.transfers.c.transfer_id).where(
            tables.transfers.c.pending_id == pending_id
        )
        return self.connection.execute(query).first() is not None

    def _moved(self, name: str) -> dict[str, Any]:
        """An account whose sums are about to change."""
        if name not in self._asked_accounts:
            self.load((), [name])
        self._moved_accounts.add(name)
        return self._accounts[name]

    def _add_transfer(
        self, transfer_id: str, kind: str, phase: str, debit: str, credit: str, amount_minor: int,
        currency: str, payout: Mapping[str, Any] | None, decision_id: str | None, *,
        pending_id: str | None = None, expires_at: datetime | None = None,
    ) -> None:  # fmt: skip
        if pending_id is not None:
            self._ended.add(pending_id)
        self._made[transfer_id] = {
            "transfer_id": transfer_id, "sequence": self.next_sequence(), "kind": kind,
            "phase": phase, "pending_id": pending_id, "debit_account": debit,
            "credit_account": credit, "amount_minor": amount_minor, "currency": currency,
            "payout_key": payout["payout_key"] if payout else None,
            "submission_id": payout["submission_id"] if payout else None,
            "decision_id": decision_id, "made_at": self.now, "expires_at": expires_at,
        }  # fmt: skip

    # --- credit, rows, audit ---------------------------------------------------------------

    def credit(
        self,
        entry_id: str,
        worker_id: str,
        kind: str,
        *,
        decision_id: str,
        payout: Mapping[str, Any] | None = None,
        weight_permille: int = 1000,
        rule: str | None = None,
        ruleset_digest: str | None = None,
        revision: int | None = None,
        at: datetime | None = None,
        reverses: str | None = None,
    ) -> None:
        """Post one entry of credit. It is there to stay; a mistake is answered by another that
        ``reverses`` it.
        """
        good, bad = CREDIT_KINDS[kind]
        self.add(
            tables.credit_entries,
            {
                "entry_id": entry_id, "sequence": self.next_sequence(), "worker_id": worker_id,
                "kind": kind, "r_milli": good, "s_milli": bad, "weight_permille": weight_permille,
                "at": at or self.now,
                "submission_id": payout["submission_id"] if payout else None,
                "task_id": payout["task_id"] if payout else None,
                "publisher_id": payout["publisher_id"] if payout else None,
                "decision_id": decision_id, "rule": rule, "ruleset_digest": ruleset_digest,
                "revision": revision, "reverses": reverses,
            },
        )  # fmt: skip

    def add(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        """Write one row of an append-only table when the books close."""
        self._rows.setdefault(table.name, []).append(dict(row))

    def added(self, table: sa.Table) -> Sequence[Mapping[str, Any]]:
        """Return the rows that these books will add to a table."""
        return self._rows.get(table.name, [])

    def amend(self, table: sa.Table, key: str, value: str, new: Mapping[str, Any]) -> None:
        """Change a row, whether these books will add it or it was there before."""
        self.connection.execute(sa.update(table).where(table.c[key] == value).values(**new))
        for row in self._rows.get(table.name, []):
            if row[key] == value:
                row.update(new)

    def send(self, kind: str, key: str, payload: Mapping[str, Any]) -> None:
        """Put a message into the outbox: it leaves after the books have closed, at least once."""
        name = "msg_" + hashlib.sha256(f"{kind}\x1f{key}".encode()).hexdigest()[:32]
        body = {"type": kind, "timestamp": self.now.isoformat(), "data": dict(payload)}
        text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
        self.add(
            tables.outbox,
            {"message_id": name, "sequence": self.next_sequence(), "kind": kind, "payload": text,
             "made_at": self.now},
        )  # fmt: skip

    def log(self, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Append to the audit chain."""
        self._audit_sequence += 1
        entry = audit.Entry(
            at=self.now, actor=actor, action=action, subject=subject[:200], detail=detail
        )
        row = audit.link(self._audit_hash, self._audit_sequence, entry)
        self._audit_hash = row["hash"]
        self.add(tables.audit, row)

    def next_sequence(self) -> int:
        """Return the next number of the books' own count: the order in which things happened."""
        self._sequence += 1
        return self._sequence

    # --- closing ---------------------------------------------------------------------------

    def close(self, *, settled: bool = False) -> None:
        """Write everything. The transaction around the books commits it, all or nothing.

        What belongs to a changed payout is queued for the next settlement, unless one is what has
        ``settled`` it; so are all submissions of a task of which a place came free.
        """
        run = self.connection.execute
        opened = [a for n, a in self._accounts.items() if n not in self._known_accounts]
        insert_rows(self.connection, tables.accounts, opened)
        moved = sorted(self._moved_accounts & self._known_accounts)
        kept = [_sums(self._accounts[name]) for name in moved]
        if kept:
            run(
                sa.update(tables.accounts)
                .where(tables.accounts.c.account_id == sa.bindparam("who"))
                .values({name: sa.bindparam(f"new_{name}") for name in SUMS}),
                kept,
            )
        insert_rows(self.connection, tables.transfers, list(self._made.values()))
        self._close_payouts()
        for name, rows in self._rows.items():
            insert_rows(self.connection, metadata.tables[name], rows)
        unsettled.mark(self.connection, self._unsettled(settled))
        run(
            sa.update(tables.heads)
            .where(tables.heads.c.name == "ledger")
            .values(
                sequence=self._sequence,
                audit_sequence=self._audit_sequence,
                audit_hash=self._audit_hash,
            )
        )

    def _unsettled(self, settled: bool) -> set[str]:
        changed = [row for key in sorted(self._changed) if (row := self._payouts[key])]
        freed = {
            row["task_id"]
            for row in changed
            if self._stood[row["payout_key"]] in TAKES_A_SLOT and row["state"] not in TAKES_A_SLOT
        }
        found = unsettled.of_tasks(self.connection, freed)
        if not settled:
            pairs = {(row["task_id"], row["worker_id"]) for row in changed}
            found |= unsettled.of_pairs(self.connection, pairs)
        return found

    def _close_payouts(self) -> None:
        changed = [row for k in sorted(self._changed) if (row := self._payouts[k])]
        new = [r for r in changed if r["payout_key"] not in self._known_payouts]
        old = [r for r in changed if r["payout_key"] in self._known_payouts]
        insert_rows(self.connection, tables.payouts, new)
        names = [c.name for c in tables.payouts.c if c.name != "payout_key"]
        if old:
            self.connection.execute(
                sa.update(tables.payouts)
                .where(tables.payouts.c.payout_key == sa.bindparam("who"))
                .values({n: sa.bindparam(f"new_{n}") for n in names}),
                [{"who": r["payout_key"], **{f"new_{n}": r[n] for n in names}} for r in old],
            )


def _sums(account: Mapping[str, Any]) -> dict[str, Any]:
    return {"who": account["account_id"], **{f"new_{name}": account[name] for name in SUMS}}


def _chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(items), IDS_PER_QUERY):
        yield items[start : start + IDS_PER_QUERY]
