"""Every file of the development drops that cannot be taken gets its code, and every other is taken."""

import json
import os
from pathlib import Path

import pytest

from pipeline.decode import open_decoder
from pipeline.model.errors import ContentError

ROOT = Path(__file__).resolve().parents[2]
MARKET = Path(os.environ.get("BOUNTYGUARD_SHARED", ROOT.parent / "shared")) / "market"


def wanted(folder: Path) -> dict[str, str]:
    rows = map(json.loads, (folder / "expected_quarantine.jsonl").read_text().splitlines())
    return {
        r["blob"]: r["code"]
        for r in rows
        if r["code"].startswith("blob.") and (folder / "drop" / r["blob"]).is_file()
        and r["code"] != "blob.bad_path"
    }  # fmt: skip


def claims(drop: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (drop / "submissions.jsonl").read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        files = row.get("attachments") if isinstance(row, dict) else None
        if isinstance(files, list):
            found |= {f["path"]: f.get("media_type") for f in files}
    return found


@pytest.mark.market
@pytest.mark.parametrize("name", ["mini", "small", "full"])
def test_codes_of_the_development_drops(name: str) -> None:
    folder = MARKET / name
    if not folder.is_dir():
        pytest.skip("the development drops do not lie beside the project")
    called = claims(folder / "drop")
    got: dict[str, str] = {}
    with open_decoder() as decoder:
        for path in sorted((folder / "drop" / "blobs").rglob("*")):
            if path.is_file():
                named = str(path.relative_to(folder / "drop"))
                try:
                    decoder.probe(path.read_bytes(), called.get(named))
                except ContentError as error:
                    got[named] = error.code
    assert got == wanted(folder)
