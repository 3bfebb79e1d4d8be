"""Register the deployments of ``prefect.yaml`` on the Prefect server, with pool, limits and automation.

``python -m flows.deploy [--inbox DIR] [--home DIR]``; safe to repeat. Run as a program of its own by
``bountyguard flows deploy``, which never imports Prefect itself.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

from prefect.automations import Automation
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from pipeline.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
POOL = "bountyguard"
AUTOMATION = "bountyguard: a run failed"


def main() -> int:
    """Register everything; return an exit status."""
    options = argparse.ArgumentParser(prog="flows.deploy", description=__doc__)
    options.add_argument("--inbox", default="inbox", help="folder in which drops arrive")
    options.add_argument("--home", help="folder of the embedded stores")
    options.add_argument("--notify", help="UUID of a Prefect notification block")
    told = options.parse_args()
    home = load_settings(home=Path(told.home) if told.home else None).home
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as filled:
        filled.write(filled_in(inbox=Path(told.inbox).resolve(), home=home))
        filled.flush()
        pool = ["work-pool", "create", POOL, "--type", "process", "--overwrite"]
        deploy = ["--no-prompt", "deploy", "--all", "--prefect-file", filled.name]
        for command in (pool, deploy):
            done = subprocess.run(
                [sys.executable, "-m", "prefect", *command], cwd=ROOT, check=False
            )
            if done.returncode:
                return done.returncode
    if told.notify:
        asyncio.run(_notify(told.notify))
    return 0


def filled_in(*, inbox: Path, home: Path) -> str:
    """Return the text of ``prefect.yaml`` with the places of this installation."""
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    places = {"BOUNTYGUARD_INBOX": inbox, "BOUNTYGUARD_HOME": home}
    for name, place in places.items():
        text = text.replace(f'"{{{{ ${name} }}}}"', json.dumps(str(place)))
    return text


async def _notify(block: str) -> None:
    """Tell a notification block when a run fails, crashes or times out; registered once."""
    try:
        await Automation.aread(name=AUTOMATION)
        return
    except ValueError:
        pass
    automation = Automation(
        name=AUTOMATION,
        trigger=EventTrigger(
            expect={
                "prefect.flow-run.Failed",
                "prefect.flow-run.Crashed",
                "prefect.flow-run.TimedOut",
            },
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.id": "prefect.tag.bountyguard", "prefect.resource.role": "tag"}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=UUID(block),
                subject="Bountyguard: {{ flow_run.name }} {{ flow_run.state.name }}",
                body="{{ flow_run|ui_url }}\n\n{{ flow_run.state.message }}",
            )
        ],
    )
    await automation.acreate()


if __name__ == "__main__":
    raise SystemExit(main())
