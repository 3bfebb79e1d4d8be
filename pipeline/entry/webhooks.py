"""``webhooks``: where settlement instructions and decisions are sent, signed and retried."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import people

if TYPE_CHECKING:
    from pipeline.bootstrap import House
    from pipeline.stores.outbox import Courier

app = typer.Typer(no_args_is_help=True, help="Webhooks by the Standard Webhooks convention.")
TIMEOUT_S = 10.0


def courier(opened: "House") -> "Courier":
    """Return the courier of a house, which speaks HTTP."""
    from pipeline.stores.outbox import Courier

    return Courier(opened.database, opened.ledger, opened.settings.now, post)


def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send a body and return the HTTP status. Redirects are not followed.

    Raises ``ConnectionError`` where nobody answers in time.
    """
    import httpx

    try:
        sent = httpx.post(
            url, headers=dict(headers), content=body, timeout=TIMEOUT_S, follow_redirects=False
        )
    except httpx.HTTPError as error:
        raise ConnectionError(str(error)) from error
    return sent.status_code


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https address that takes the messages")],
    home: Home = None,
) -> None:
    """Send all further messages to that address too; prints its id and its secret, once."""
    with house(home) as opened:
        endpoint_id, secret = courier(opened).add_endpoint(url)
    typer.echo(f"{endpoint_id} {secret}")


@app.command()
def deliver(home: Home = None) -> None:
    """Deliver what is due now."""
    with house(home) as opened:
        told = courier(opened).deliver_due()
    people.print(str(told), markup=False)
