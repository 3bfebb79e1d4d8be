"""How long it takes to refuse a hostile rule, and that it is refused before the engine sees it.

python benchmarks/rulebook_hostile.py [--format json]
"""

import argparse
import json
import time

from pipeline.rulebook import RulebookError, load
from pipeline.rulebook.lower import Checker, pattern_problem
from pipeline.rulebook.names import FIELDS
from pipeline.rulebook.syntax import SyntaxProblem, parse

CONDITIONS = {
    "20,000 brackets": "(" * 20_000 + "task.on_site" + ")" * 20_000,
    "1,900 brackets": "(" * 1_900 + "task.on_site" + ")" * 1_900,
    "3,900 negations": "!" * 3_900 + "task.on_site",
    "1,900 additions": "task.slots" + "+1" * 1_900 + " > 0",
    "giant string": "task.grade == '" + "x" * 1_000_000 + "'",
    "giant number": "task.slots > " + "9" * 3_000,
    "1,000 list entries": "task.slots in [" + ",".join(["1"] * 1_000) + "]",
    "190 unknown names": " && ".join(f"x{i}.y" for i in range(190)),
    "nested loops": "worker.skills.all(a, worker.skills.all(b, a == b))",
    "type confusion": "task.bounty_minor + task.grade > text.contained.found",
    "look-around": "task.grade.matches('(?=a)(?=b)c')",
    "back-reference": "task.grade.matches('(a+)+\\\\1')",
    "catastrophic when backtracking": "task.grade.matches('(a+)+$')",
    "nested counted repeats": "task.grade.matches('((a{99}){99}){99}')",
    "huge character classes": "task.grade.matches('" + "\\\\w{9}" * 20 + "')",
    "escape flood": "task.grade == '" + "\\\\" * 1_900 + "'",
    "unclosed everything": "([(['" * 700,
}
TEXTS = {
    "TOML nested 100,000 deep": "x = " + "[" * 100_000,
    "TOML dotted 100,000 deep": "a" + ".a" * 100_000 + " = 1",
    "TOML integer of 100,000 digits": "x = " + "9" * 100_000,
    "TOML of a million characters and one": "#" * 1_000_001,
    "10,000 unknown keys": "[ruleset]\n" + "\n".join(f"k{i} = 1" for i in range(10_000)),
}


def judged(text: str) -> str:
    try:
        tree = parse(text)
    except SyntaxProblem as problem:
        return problem.code
    checker = Checker(FIELDS)
    checker.of(tree)
    return checker.problems[0].code if checker.problems else "accepted (linear)"


def loaded(text: str) -> str:
    try:
        load({"hostile.toml": text})
    except RulebookError as error:
        return f"{error.problems[0].code} ({len(error.problems)} told)"
    return "accepted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    given = parser.parse_args()
    pattern_problem("warm")
    table = []
    for cases, judge in ((CONDITIONS, judged), (TEXTS, loaded)):
        for name, text in cases.items():
            start = time.process_time()
            verdict = judge(text)
            spent = (time.process_time() - start) * 1e3
            table.append(
                {
                    "case": name,
                    "characters": len(text),
                    "verdict": verdict,
                    "cpu_ms": round(spent, 2),
                }
            )
    if given.format == "json":
        print(json.dumps(table))
        return
    for row in table:
        print(
            f"{row['case']:<38} {row['characters']:>9,} chars {row['cpu_ms']:>8.2f} ms  {row['verdict']}"
        )
    print(f"slowest: {max(row['cpu_ms'] for row in table):.1f} ms")


if __name__ == "__main__":
    main()
