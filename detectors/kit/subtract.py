"""Subtract what everyone was given, before anything is compared."""

from pipeline.ports import Batch


def handed_out(batch: Batch) -> frozenset[tuple[str, str]]:
    """Pairs of (submission id, digest of a reference file of its task)."""
    pairs = (
        batch.submissions.select("submission_id", "task_id")
        .join(batch.tasks.select("task_id", "reference_digests"), on="task_id")
        .explode("reference_digests", empty_as_null=True)
        .drop_nulls("reference_digests")
    )
    return frozenset(pairs.select("submission_id", "reference_digests").iter_rows())
