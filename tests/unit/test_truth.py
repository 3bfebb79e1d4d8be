"""A truth file: what is ambiguous counts nowhere, what is no truth file has a code."""

from pathlib import Path

import pytest

from pipeline.line import truth_labels
from pipeline.model.errors import UsageError


def test_the_ambiguous_count_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "truth.jsonl"
    file.write_text(
        '{"submission_id": "a", "label": "fraud", "kinds": ["text.contained"], "scheme": "x"}\n\n'
        '{"submission_id": "b", "label": "honest", "ambiguous": true}\n'
        '{"submission_id": "c", "label": "honest"}\n'
    )
    assert truth_labels(file).rows() == [("a", "fraud", ["text.contained"]), ("c", "honest", [])]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "truth.absent"),
        ("no json", "truth.malformed"),
        ('{"label": "fraud"}', "truth.malformed"),
        ("[1]", "truth.malformed"),
    ],
)
def test_what_is_no_truth_file_has_a_code(tmp_path: Path, text: str | None, code: str) -> None:
    file = tmp_path / "truth.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as told:
        truth_labels(file)
    assert told.value.code == code
