"""Judging as a flow: in one task on this machine, or part by part on a Dask cluster by its address.

``BOUNTYGUARD_DASK=tcp://…`` decides. A worker of the cluster opens the stores by its own environment,
which must name the same database and object store; what travels is who is in a part, and the key under
which the answer was written. A worker that is killed costs the time of its parts, which Dask gives to
another.
"""

from pathlib import Path
from typing import Any

from prefect import flow, task

from pipeline import line, parts
from pipeline.bootstrap import open_house
from pipeline.ports import Ticket
from pipeline.settings import Settings, load_settings

RETRIES = 3
RETRY_DELAY_S = 5


def settings_of(home: str | None) -> Settings:
    """Read the settings; ``home`` goes before the environment."""
    return load_settings(home=Path(home) if home else None)


def judge(home: str | None) -> int:
    """Detect, score and decide all that waits, wherever that is to be done. Call it from a flow."""
    cluster = settings_of(home).dask
    if cluster is None:
        return judge_here(home)
    from prefect_dask.task_runners import DaskTaskRunner  # only who has a cluster pays for it

    runner: Any = DaskTaskRunner(address=cluster)
    return judge_on_cluster.with_options(task_runner=runner)(home)


@task(name="judge", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def judge_here(home: str | None) -> int:
    """Judge on this machine."""
    with open_house(settings_of(home)) as house:
        return line.judge(house)


@flow(name="bountyguard-judge", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def judge_on_cluster(home: str | None = None) -> int:
    """Judge on the cluster of this flow's task runner; one writer, here, writes down what comes back."""
    with open_house(settings_of(home)) as house:
        return line.judge(
            house,
            submit=lambda step, part: do_part.submit(
                step, [(t.submission_id, t.generation) for t in part], home
            ),
        )


@task(name="part", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S, task_run_name="{step}")
def do_part(step: str, tickets: list[tuple[str, int]], home: str | None) -> Any:
    """Do one step of one part in this worker."""
    part = [Ticket(submission_id=name, generation=drawn) for name, drawn in tickets]
    return parts.do(settings_of(home), step, part)
