"""The line as a Prefect flow, really run: the same outcome as the command line, and a page of it."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from flows.summary import held_rows, markdown
from pipeline.model.errors import UsageError
from pipeline.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo" / "drop"

RUN = """
import sys, orjson
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.testing.utilities import prefect_test_harness
from flows.line import line_flow

if __name__ == "__main__":
    with prefect_test_harness(server_startup_timeout=180):
        report = line_flow(sys.argv[1], sys.argv[2])
        with get_client(sync_client=True) as client:
            key = ArtifactFilter(key=ArtifactFilterKey(any_=["line-report"]))
            artifacts = client.read_artifacts(artifact_filter=key)
    print("REPORT " + orjson.dumps({"report": report, "page": artifacts[0].data}, default=str).decode())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_flow_ends_where_the_command_line_ends(tmp_path: Path) -> None:
    clock = {"BOUNTYGUARD_CLOCK": "2026-06-01T00:00:00Z", "PREFECT_HOME": str(tmp_path / "prefect")}
    by_flow = subprocess.run(
        [sys.executable, "-c", RUN, str(DEMO), str(tmp_path / "flow")],
        cwd=ROOT, env=os.environ | clock, capture_output=True, check=False,
    )  # fmt: skip
    assert by_flow.returncode == 0, by_flow.stderr.decode()[-3000:]
    line = next(x for x in by_flow.stdout.splitlines() if x.startswith(b"REPORT "))
    told = orjson.loads(line.removeprefix(b"REPORT "))
    by_hand = subprocess.run(
        [sys.executable, "-m", "pipeline.entry.cli", "--home", str(tmp_path / "hand"),
         "run", str(DEMO), "--format", "json"],
        cwd=ROOT, env=os.environ | clock, capture_output=True, check=False,
    )  # fmt: skip
    assert told["report"] == orjson.loads(by_hand.stdout)
    for held in told["report"]["held"]:
        assert held["submission_id"] in told["page"]


def test_the_command_line_never_pays_for_prefect() -> None:
    script = "import sys, pipeline.entry.cli, pipeline.bootstrap; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_the_page_defuses_what_strangers_wrote() -> None:
    held = {"submission_id": "a|b", "outcome": "decline", "score": 90, "because": "<script>\nx",
            "matched": None}  # fmt: skip
    page = markdown({"outcomes": {"approve": 1}, "money": [], "held": [held], "ingest": {}})
    assert "a\\|b" in page
    assert "<script>" not in page


def test_held_payouts_lead_to_their_cases() -> None:
    held = {"submission_id": "a", "outcome": "decline", "score": 90, "because": "file.identical",
            "matched": None, "case_id": "case_1"}  # fmt: skip
    link = "[case_1](https://desk.example/console/cases/case_1)"
    report = {"outcomes": {}, "money": [], "held": [held], "ingest": {}}
    assert link in markdown(report, console="https://desk.example/console")
    assert held_rows([held], "https://desk.example/console")[0]["case"] == link
    assert held_rows([held])[0]["case"] == "case_1"
    assert held_rows([held | {"case_id": None}], "https://desk.example/console")[0]["case"] == ""


def test_only_a_web_address_is_taken_for_the_console() -> None:
    told = load_settings({"BOUNTYGUARD_CONSOLE_URL": "https://desk.example/console/"})
    assert told.console_url == "https://desk.example/console"
    for value in ("desk.example", "javascript:alert(1)", "https://a b", "https://a)x"):
        with pytest.raises(UsageError) as refused:
            load_settings({"BOUNTYGUARD_CONSOLE_URL": value})
        assert refused.value.code == "settings.url"
