"""The commands of a rule's life, of lists and of recall, as an analyst types them one after the other."""

from pathlib import Path

import orjson

from tests.e2e.test_line import DEMO, bountyguard

RULE = "copies.text_template_only"


def test_a_rule_is_paused_recalled_listed_and_brought_back(tmp_path: Path) -> None:
    def told(*words: object, statuses: tuple[int, ...] = (0,)) -> list[dict[str, object]]:
        lines = bountyguard(tmp_path, *words, "--format", "json", statuses=statuses).splitlines()
        return [orjson.loads(line) for line in lines]

    bountyguard(tmp_path, "run", DEMO / "drop", statuses=(1,))
    (first,) = told("rules", "revisions")
    before = bountyguard(tmp_path, "rules", "recall", str(first["in_force"])[:12], statuses=(2,))
    assert before == b""
    bountyguard(tmp_path, "rules", "step", RULE, "paused", "--by", "ann", "--why", "floods")
    (now,) = told("rules", "revisions")
    assert now["in_force"] != first["in_force"]
    preview = bountyguard(tmp_path, "rules", "recall", first["in_force"]).decode()
    assert "restate" in preview or "release" in preview
    undone = bountyguard(
        tmp_path, "rules", "recall", first["in_force"], "--by", "ann", "--why", "floods"
    )
    assert undone.decode() == preview
    bountyguard(tmp_path, "rules", "rollback", "files", "--by", "ann", "--why", "mended")
    (back,) = told("rules", "revisions")
    assert back["in_force"] == first["in_force"]

    bountyguard(
        tmp_path,
        "lists",
        "add",
        "block",
        "worker",
        "w-x",
        "--by",
        "ann",
        "--why",
        "farm",
        "--days",
        3,
    )
    case = told("cases", "list")[0]["case_id"]
    bountyguard(tmp_path, "lists", "snooze", RULE, "worker", "w-y", "--case", case, "--by", "ann")
    entries = told("lists", "show")
    assert {(e["what"], e["value"], e["owner"]) for e in entries} == {
        ("block", "w-x", "ann"),
        (RULE, "w-y", "ann"),
    }
    bountyguard(tmp_path, "lists", "end", entries[0]["id"], "--by", "ann", "--why", "appealed")
    assert len(told("lists", "show")) == 1
    assert told("rules", "trip", statuses=(0, 1))
    (promise,) = told("rules", "promise")
    assert promise["alpha"] == 0.005
    bountyguard(tmp_path, "audit", "verify")
