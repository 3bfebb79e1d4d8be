"""``mark`` and ``marks``: mark what is handed over, read marks, keys, visible marks of others."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.entry.context import Home, house
from pipeline.entry.output import Format, page, people, table, write_json
from pipeline.model.errors import ContentError, UsageError

marks = typer.Typer(
    no_args_is_help=True, help="Marks: read ours, its keys, and learn visible marks of others."
)
AsFormat = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]
SEEN = ("file", "serial", "key_id", "p_value", "submission_id", "recipient")
Files = Annotated[list[Path], typer.Argument(help="pictures and texts")]


def register(app: typer.Typer) -> None:
    """Hang the commands onto the program."""
    app.command()(mark)
    app.add_typer(marks, name="marks")


@marks.callback()
def about() -> None:
    """Marks: read ours, its keys, and learn visible marks of others."""


def mark(
    files: Files,
    submission: Annotated[str, typer.Option(help="the paid submission that the files are of")],
    recipient: Annotated[str, typer.Option(help="whom they are handed over to")],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the marked copies")],
    tenant: Annotated[str, typer.Option(help="whose key marks")] = "default",
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Put our invisible mark into paid work before it is handed over, and record the delivery.

    When a copy comes back under another account, detection names this delivery. Each copy gets a
    random serial of its own; pictures come back upright and without their metadata. Exit status 1:
    a file could not be marked.
    """
    from pipeline.entry.marking import hand_over, record

    told, failed = [], False
    with house(home) as opened:
        output.mkdir(parents=True, exist_ok=True)
        for path in files:
            try:
                copy = hand_over(
                    opened, _bytes(path), submission_id=submission, recipient=recipient,
                    tenant=tenant,
                )  # fmt: skip
            except ContentError as error:
                people.print(f"{path}: {error.code}: {error.message}", markup=False)
                failed = True
                continue
            serial = f"{copy.delivery.serial:016x}"
            target = output / f"{path.stem}-{serial}{copy.suffix}"
            target.write_bytes(copy.data)
            record(opened, copy)
            told.append((str(path), str(target), copy.delivery.key_id, serial))
    if form is Format.json:
        for row in told:
            write_json(dict(zip(("file", "copy", "key_id", "serial"), row, strict=True)))
    else:
        page.print(table("Marked", ("file", "copy", "key", "serial"), told))
    raise typer.Exit(1 if failed else 0)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError("mark.file", f"{path}: {error.strerror}") from error


@marks.command("read")
def read_(files: Files, form: AsFormat = Format.text, home: Home = None) -> None:
    """Say whether files carry our mark, of which delivery, and how likely that is by chance.

    A mark alone accuses nobody: it can be copied from one picture onto another.
    """
    from pipeline.entry.marking import look

    with house(home) as opened:
        rows = []
        for path in files:
            seen = look(opened, _bytes(path))
            row: dict[str, str | float | None] = dict.fromkeys(SEEN)
            row["file"] = str(path)
            if seen is not None:
                row |= {"serial": f"{seen.serial:016x}", "key_id": seen.key_id,
                        "p_value": seen.p_value}  # fmt: skip
                if seen.delivery is not None:
                    row |= {"submission_id": seen.delivery.submission_id,
                            "recipient": seen.delivery.recipient}  # fmt: skip
            rows.append(row)
    if form is Format.json:
        for row in rows:
            write_json(row)
        return
    page.print(table("Our mark", SEEN, [tuple(r[c] or "" for c in SEEN) for r in rows]))


@marks.command("learn")
def learn(
    folder: Annotated[Path, typer.Argument(help="pictures that carry the mark in one place")],
    name: Annotated[
        str | None, typer.Option(help="what to call it; by default the folder's name")
    ] = None,
    form: AsFormat = Format.text,
    home: Home = None,
) -> None:
    """Learn a visible mark of another site from pictures that carry it, four or more.

    From then on it is found in what is handed in, and what is known already is judged again.
    """
    from pipeline.entry.marking import learn_mark

    with house(home) as opened:
        made, unread = learn_mark(opened, folder, name or folder.resolve().name)
    rows, columns = made.strokes.shape[:2]
    if form is Format.json:
        write_json({"name": made.name, "examples": made.examples, "place": list(made.place),
                    "size": [columns, rows], "unread": unread})  # fmt: skip
        return
    people.print(
        f"{made.name}: learned from {made.examples} pictures, {columns} × {rows} at "
        f"({made.place[0]:.2f}, {made.place[1]:.2f}); {unread} files could not be read",
        markup=False,
    )


@marks.command("keys")
def keys(form: AsFormat = Format.text, home: Home = None) -> None:
    """List the keys that marks are written and read with. The keys themselves are never shown."""
    from pipeline.entry.marking import keyring

    with house(home) as opened:
        ring = keyring(opened)
    rows = [(k.key_id, k.tenant, k.epoch, "detects" if k.retired else "marks") for k in ring]
    if form is Format.json:
        for row in rows:
            write_json(dict(zip(("key_id", "tenant", "epoch", "use"), row, strict=True)))
        return
    page.print(table("Keys of marks", ("key", "tenant", "epoch", "use"), rows))


@marks.command("rotate")
def rotate_(
    tenant: Annotated[str, typer.Option(help="whose key")] = "default", home: Home = None
) -> None:
    """Make a key of a new epoch and print its id; earlier keys of the tenant only detect."""
    from pipeline.entry.marking import rotate

    with house(home) as opened:
        typer.echo(rotate(opened, tenant=tenant).key_id)


@marks.command("drop")
def drop_(
    key_id: Annotated[str, typer.Argument(help="see: bountyguard marks keys")],
    yes: Annotated[bool, typer.Option("--yes", help="do it without asking")] = False,
    home: Home = None,
) -> None:
    """Forget a key: copies that carry it are found no more. It cannot be undone."""
    from pipeline.entry.marking import drop

    if not yes:
        typer.confirm(f"Forget the key {key_id}?", abort=True)
    with house(home) as opened:
        drop(opened, key_id)
