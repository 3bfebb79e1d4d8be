"""``serve``, ``keys``: the API for the payout platform, the analysts' console, and who may use them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import people
from pipeline.entry.webhooks import courier
from pipeline.model.errors import BountyguardError

if TYPE_CHECKING:
    from pipeline.bootstrap import House

SIGNS_FOR: Final = timedelta(days=30)
"""How long a served house lets one key sign permits."""

keys = typer.Typer(
    no_args_is_help=True, help="API keys: make, rotate, revoke; renew what signs permits."
)


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(serve)
    app.add_typer(keys, name="keys")


def serve(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 8000,
    judge_every: Annotated[
        float,
        typer.Option(help="seconds between looks at what arrived; 0 leaves that to the flows"),
    ] = 5.0,
    home: Home = None,
) -> None:
    """Serve the API: score checks, intake, settlements, reports, appeals, statements. And the console.

    Make a key first: [bold]bountyguard keys make platform --scope checks --scope settlements[/bold]
    The analysts' console is at /console/: [bold]bountyguard keys make li.wei --scope console[/bold]
    """
    from pipeline.decode import open_decoder
    from pipeline.entry.api import Services, create_app
    from pipeline.entry.api.serving import server
    from pipeline.entry.console import Console, mount
    from pipeline.entry.marking import CopyDesk
    from pipeline.stores.gate import GateReader
    from pipeline.stores.ledger_writer import Writer
    from pipeline.stores.reception import Reception

    with house(home) as opened, open_decoder() as looker:
        background = _Background(opened, judge_every)
        services = Services(
            database=opened.database,
            ledger=opened.ledger,
            writer=Writer(opened.ledger),
            access=opened.access(),
            permits=opened.permits(),
            reader=GateReader(opened.database),
            clock=opened.settings.now,
            intake=Reception(opened.intake, opened.decoder, background.wake),
            ready=background.faults,
            marker=CopyDesk(opened),
        )
        app = create_app(services)
        # The console looks with a child of its own: a person does not wait for what is judged.
        mount(app, Console(opened, services.access, services.writer, decoder=looker))
        with background:
            server(app, host=host, port=port).run()


class _Background:
    """Judges what arrives while the API is served, in a thread of its own."""

    def __init__(self, opened: "House", every_s: float) -> None:
        self._house = opened
        self._every_s = every_s
        self._arrived = threading.Event()
        self._stop = threading.Event()
        self._fault = ""
        self._thread = threading.Thread(target=self._work, name="judge", daemon=True)

    def __enter__(self) -> "_Background":
        if self._every_s > 0:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._arrived.set()
        if self._every_s > 0:
            self._thread.join(timeout=60)

    @property
    def wake(self) -> Callable[[], None]:
        """What intake calls when something arrived."""
        return self._arrived.set

    def faults(self) -> list[str]:
        """Say what is stale: a judge that failed leaves checks pending."""
        return [self._fault] if self._fault else []

    def _work(self) -> None:
        from pipeline.line import judge, settle

        while not self._stop.is_set():
            self._arrived.wait(self._every_s)
            self._arrived.clear()
            if self._stop.is_set():
                return
            try:
                if any(self._house.work.waiting(depth) for depth in range(3)):
                    judge(self._house)
                    settle(self._house)
                self._house.ledger.keep_deadlines()
                renew_signing_key(self._house, SIGNS_FOR)
                self._house.audit().checkpoint(
                    self._house.audit_keys().sign_hex, self._house.settings.now()
                )
                courier(self._house).deliver_due()
                self._fault = ""
            except BountyguardError as error:
                self._fault = f"the judge stopped: {error.code}"
                people.print(f"{error.code}: {error.message}", markup=False)


def renew_signing_key(opened: "House", older_than: timedelta) -> str | None:
    """Let a new key sign permits where the newest is that old, and log it; return its id."""
    made = opened.permits().rotate_if_older(older_than, opened.settings.now())
    if made is not None:
        opened.ledger.note("operator", "signing_key.made", made, {})
    return made


@keys.command()
def renew(home: Home = None) -> None:
    """Let a new key sign permits from now on; what the old one signed is good for two more days.

    A served house renews it by itself every 30 days.
    """
    with house(home) as opened:
        typer.echo(renew_signing_key(opened, timedelta(0)))


@keys.command()
def make(
    name: Annotated[str, typer.Argument(help="who the key is for")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="checks, intake, settlements, reports, appeals, statements, deliveries; "
            "console for a person"
        ),
    ],
    tenant: Annotated[
        str | None, typer.Option(help="publisher:<id> or worker:<id>; everybody's without")
    ] = None,
    per_minute: Annotated[int, typer.Option(help="requests a minute")] = 6_000,
    home: Home = None,
) -> None:
    """Make an API key and print it, once: only its digest is kept."""
    with house(home) as opened:
        typer.echo(opened.access().make(name, scope, tenant=tenant, per_minute=per_minute))


@keys.command()
def rotate(key_id: str, home: Home = None) -> None:
    """Make a key like that one and print it; the old one works for another day."""
    with house(home) as opened:
        typer.echo(opened.access().rotate(key_id))


@keys.command()
def revoke(key_id: str, home: Home = None) -> None:
    """End a key now."""
    with house(home) as opened:
        opened.access().revoke(key_id)
    people.print(f"{key_id} is revoked")
