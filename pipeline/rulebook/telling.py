"""Backtests, diffs and recalls in plain lines, for a terminal or an artifact."""

import polars as pl

from pipeline.model.shares import Share
from pipeline.rulebook.backtest import Backtest, Diff
from pipeline.rulebook.recall import Recall


def tell_backtest(found: Backtest) -> list[str]:
    """Tell the money and people table of a backtest, then its rules."""
    columns = ["currency", "outcome", "submissions", "workers", "amount_minor"]
    columns += ["honest", "honest_minor", "fraud", "fraud_minor"]
    lines = [
        f"rulebook {found.digest[:12]}: {found.submissions} submissions, {found.workers} workers"
    ]
    lines += _table(found.money.select(columns))
    lines += [
        f"workers held {found.workers_held}, honest workers held {found.honest_workers_held}",
        f"precision of holds {_share(found.precision)}",
        f"recall of holds {_share(found.recall)}",
        f"honest submissions held {_share(found.false_holds)}",
        f"overturns predicted {found.overturns_predicted:.1f}",
    ]
    return lines + _table(found.rules)


def tell_diff(change: Diff) -> list[str]:
    """Tell what changes between two rulebooks: moves of money and people, hits won and lost."""
    lines = [
        f"from {change.before[:12]} to {change.after[:12]}: {change.changed.height} outcomes change"
    ]
    lines += _table(change.moves)
    lines += [f"newly held {n} {c}" for c, n in sorted(change.newly_held_minor.items())]
    lines += [f"released {n} {c}" for c, n in sorted(change.released_minor.items())]
    lines.append(
        f"workers newly held {change.workers_newly_held}, released {change.workers_released}"
    )
    for row in change.hits.iter_rows(named=True):
        new = f"{row['new']} new ({', '.join(row['new_examples'])})" if row["new"] else "0 new"
        lost = (
            f"{row['lost']} lost ({', '.join(row['lost_examples'])})" if row["lost"] else "0 lost"
        )
        lines.append(f"{row['rule']}: {new}, {lost}")
    return lines


def tell_recall(undo: Recall) -> list[str]:
    """Tell what recalling a revision does, before and after."""
    counts = dict(undo.actions.group_by("action").len().sort("action").iter_rows())
    lines = [
        f"recall of {undo.digest[:12]}: {undo.actions.height} decisions, {undo.workers} workers, "
        f"{undo.kept.height} kept as people decided"
    ]
    lines += [f"{action} {count}" for action, count in counts.items()]
    lines += [f"money released {n} {c}" for c, n in sorted(undo.released_minor.items())]
    lines += [f"money held {n} {c}" for c, n in sorted(undo.held_minor.items())]
    return lines


def _share(share: Share) -> str:
    if share.share is None:
        return "unknown: nothing labelled"
    low, high = share.interval
    return f"{share.share:.1%} ({share.hits} of {share.of}; 95 % {low:.1%} to {high:.1%})"


def _table(frame: pl.DataFrame) -> list[str]:
    if frame.is_empty():
        return []
    rows = [frame.columns, *([_cell(v) for v in row] for row in frame.iter_rows())]
    widths = [max(len(row[i]) for row in rows) for i in range(frame.width)]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
