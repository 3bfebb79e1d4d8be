"""Every reason that a shipped rule can give is one that a worker can be told, in both languages."""

from pipeline import rulebook
from pipeline.model.reasons import REASONS, RULE_REASONS
from pipeline.review.statements import says


def test_every_shipped_reason_is_explained_in_both_languages() -> None:
    given = {code for rule in rulebook.shipped().rules for code in rule.reasons}
    assert given
    for code in given | REASONS.keys() | RULE_REASONS.keys():
        assert says(code, "en") != code
        assert says(code, "zh") != code
        assert says(code, "en") != says(code, "zh")


def test_findings_and_circumstances_are_told_apart() -> None:
    assert not REASONS.keys() & RULE_REASONS.keys()
