"""The program ``bountyguard``: one command a thing that analysts, operators and engineers do.

Exit status: 0 done, 1 done but something was quarantined or failed a check, 2 wrong usage or
configuration, 3 a store could not be reached.
"""

import os
import sys

import typer

from pipeline.entry import (
    cli_books,
    cli_keep,
    cli_life,
    cli_line,
    cli_look,
    cli_marks,
    cli_rules,
    cli_serve,
    cli_tables,
    webhooks,
)
from pipeline.entry.context import Home, remember
from pipeline.entry.output import people
from pipeline.model.errors import BountyguardError

app = typer.Typer(
    name="bountyguard",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Anti-fraud for task-bounty platforms: evidence, rules, credit, and the word before a payout.

    Take a drop through the whole line, see what was held, and ask why:

        bountyguard run data/demo/drop

        bountyguard export assessments --format jsonl

        bountyguard explain SUBMISSION_ID
    """,
)


@app.callback()
def start(home: Home = None) -> None:
    """Anti-fraud for task-bounty platforms."""
    remember(home)


cli_line.register(app)
cli_look.register(app)
cli_tables.register(app)
cli_books.register(app)
cli_serve.register(app)
cli_keep.register(app)
cli_life.register(cli_rules.app)
cli_marks.register(app)
app.add_typer(cli_rules.app, name="rules")
app.add_typer(cli_life.lists, name="lists")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(cli_tables.quarantine, name="quarantine")


def main() -> None:
    """Run the program and turn expected errors into one line and an exit status."""
    try:
        app()
    except BountyguardError as error:
        people.print(f"[bold red]{error.code}[/bold red]: {_plain(error.message)}")
        raise SystemExit(error.exit_status) from None
    except BrokenPipeError:
        # The reader of our output went away (``| head``): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
