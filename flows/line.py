"""The line as a flow: a drop in, assessments, credit and money out, and a page of what was held.

Three tasks, each of seconds and more, each idempotent: a retry or a second run begins where the
record says that the first one stopped.
"""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.summary import markdown
from pipeline import line
from pipeline.bootstrap import open_house
from pipeline.settings import load_settings
from pipeline.stages.ingest import IngestReport

RETRIES = 3
RETRY_DELAY_S = 5


@task(name="take in", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def take_in(drop: str, home: str | None) -> IngestReport:
    """Ingest the drop."""
    with open_house(_settings(home)) as house:
        return line.take_in(house, Path(drop))


@task(name="judge", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def judge(home: str | None) -> int:
    """Detect, score and decide what waits."""
    with open_house(_settings(home)) as house:
        return line.judge(house)


@task(name="settle", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def settle(home: str | None) -> None:
    """Move credit and money as decided."""
    with open_house(_settings(home)) as house:
        line.settle(house)


@flow(name="bountyguard-line")
def line_flow(drop: str, home: str | None = None, pay: bool = True) -> dict[str, Any]:
    """Take a drop through the whole line and leave a page of what was held and why.

    ``drop`` is the drop's folder, ``home`` the folder of the embedded stores (by default what the
    environment says), ``pay`` whether credit and money are moved.
    """
    taken = take_in(drop, home)
    assessed = judge(home)
    if pay:
        settle(home)
    with open_house(_settings(home)) as house:
        report = line.report(house, taken, assessed).as_json()
    create_markdown_artifact(
        key="line-report", markdown=markdown(report), description="What was held, and why"
    )
    return report


def _settings(home: str | None) -> Any:
    return load_settings(home=Path(home) if home else None)
