"""Rule text in, a checked rulebook out, and rules to polars expressions: pure, no stores, no clock."""

from pipeline.rulebook.book import Case, Rule, Rulebook, RuleTest
from pipeline.rulebook.loading import load, shipped
from pipeline.rulebook.problems import Problem, RulebookError

__all__ = ["Case", "Problem", "Rule", "RuleTest", "Rulebook", "RulebookError", "load", "shipped"]
