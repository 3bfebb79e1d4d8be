"""What every command shares: where the home is, and opening the house of its settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipeline.bootstrap import House

Home = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the embedded stores. [default: $BOUNTYGUARD_HOME or .bountyguard]",
        show_default=False,
    ),
]
_home: list[Path | None] = [None]


def remember(home: Path | None) -> None:
    """Keep the ``--home`` that stood before or behind the command's name."""
    if home is not None:
        _home[0] = home


def settings() -> Settings:
    """Read the settings of this call."""
    return load_settings(home=_home[0])


@contextmanager
def house(home: Path | None = None) -> "Iterator[House]":
    """Open the house of this call. Its wiring is imported only now: ``--help`` does not pay for it."""
    remember(home)
    from pipeline.bootstrap import open_house

    with open_house(settings()) as opened:
        yield opened
