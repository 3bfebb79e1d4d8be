"""The line as a flow: a drop in, assessments, credit and money out, and a page of what was held.

Three tasks, each of seconds and more, each idempotent: a retry or a second run begins where the
record says that the first one stopped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.spread import RETRIES, RETRY_DELAY_S, judge, settings_of
from flows.summary import as_url, held_rows, markdown, volumes
from pipeline import line
from pipeline.bootstrap import open_house
from pipeline.overview import overview
from pipeline.stages.ingest import IngestReport


@task(name="take in", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def take_in(drop: str, home: str | None) -> IngestReport:
    """Ingest the drop."""
    with open_house(settings_of(home)) as house:
        return line.take_in(house, Path(drop))


@task(name="settle", retries=RETRIES, retry_delay_seconds=RETRY_DELAY_S)
def settle(home: str | None) -> None:
    """Move credit and money as decided."""
    with open_house(settings_of(home)) as house:
        line.settle(house)


@flow(name="bountyguard-line")
def line_flow(drop: str, home: str | None = None, pay: bool = True) -> dict[str, Any]:
    """Take a drop through the whole line and leave a page of what was held and why.

    ``drop`` is the drop's folder, ``home`` the folder of the embedded stores (by default what the
    environment says), ``pay`` whether credit and money are moved.
    """
    with open_house(settings_of(home)) as house:
        begun, console = house.settings.now(), house.settings.console_url
    taken = take_in(drop, home)
    assessed = judge(home)
    if pay:
        settle(home)
    with open_house(settings_of(home)) as house:
        report = line.report(house, taken, assessed).as_json()
        seen = overview(house, since=begun).as_json()
    leave(report, seen, console)
    return report


def leave(report: Mapping[str, Any], seen: Mapping[str, Any], console: str | None = None) -> None:
    """Leave what an analyst reads in the UI: the page, the held payouts as a table, the volumes.

    Held payouts lead to their cases in ``console``, where its address is known.
    """
    create_markdown_artifact(
        key="line-report",
        markdown=markdown(report, seen, console),
        description="What was held, and why",
    )
    create_table_artifact(
        key="held-payouts",
        table=held_rows(report["held"], console),
        description="Held, most certain first",
    )
    create_image_artifact(
        key="volumes", image_url=as_url(volumes(seen["days"])), description="Hand-ins by day"
    )
