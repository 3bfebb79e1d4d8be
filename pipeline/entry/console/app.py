"""The console as an ASGI application: routes, the door, headers, errors as pages."""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import structlog
from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detectors.text.bodies import Reader
from pipeline.bootstrap import House
from pipeline.entry.console import doors, plates, words
from pipeline.model.errors import (
    BountyguardError,
    ContentError,
    LedgerError,
    StoreError,
    UsageError,
)
from pipeline.ports import Decoder
from pipeline.stores.access import Access
from pipeline.stores.desk import Desk
from pipeline.stores.ledger_books import Books
from pipeline.stores.ledger_writer import Writer

T = TypeVar("T")
ROOT: Final = "/console"
FIELDS_MAX: Final = 40
AUDIT_WITHIN_S: Final = 30.0
STATIC: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
STATUS_OF: Final[Mapping[str, int]] = {
    "case.unknown": 404, "page.unknown": 404, "session.none": 401, "form.forged": 403,
    "form.unreadable": 400, "case.no_reason": 422, "case.verdict": 422, "blob.absent": 404,
    "blob.busy": 503, "quarantine.unknown": 404, "rules.no_such_rule": 422, "worker.unknown": 404,
    "cluster.unknown": 404, "snooze.subject": 422,
}  # fmt: skip

log = structlog.get_logger("bountyguard.console")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a signed-in person, read: what was asked, and what the form holds."""

    session: doors.Session
    query: Mapping[str, str]
    path: Mapping[str, Any]
    form: Mapping[str, str]
    language: str

    @property
    def person(self) -> str:
        """Who it is."""
        return self.session.person

    def number(self, name: str, *, most: int, default: int = 0) -> int:
        """Read a whole number of the query, within 0 and ``most``."""
        value = self.query.get(name, "")
        return (
            min(int(value), most)
            if value.isascii() and value.isdigit() and len(value) < 10
            else default
        )


class Console:
    """What the pages share: the house, the desk, sessions, pictures, templates."""

    def __init__(
        self,
        house: House,
        access: Access,
        writer: Writer,
        *,
        decoder: Decoder | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.house = house
        self.desk = Desk(house.database)
        self.writer = writer
        self.sessions = doors.Sessions(access, ticks)
        self.tries = doors.Tries(ticks)
        self._decoder = decoder or house.decoder
        self._reader = Reader()
        self.plates = plates.Plates(house.blobs, self._decoder)
        self.ticks = ticks
        self._kept: dict[str, tuple[float, Any]] = {}
        self._static = {
            name: files(__package__).joinpath("static", name).read_bytes() for name in STATIC
        }
        self._templates = Environment(
            loader=PackageLoader(__package__, "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        version = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:12]
        self._templates.globals.update(root=ROOT, version=version, url=url)

    # --- what pages do ---------------------------------------------------------------------

    def page(self, name: str, visit: Visit | None, language: str, **more: Any) -> str:
        """Write a page from its template."""
        template = self._templates.get_template(name)
        return template.render(
            visit=visit, language=language, now=self.house.settings.now(),
            **words.of(language), **more,
        )  # fmt: skip

    def show(self, name: str, visit: Visit, *, status: int = 200, **more: Any) -> Response:
        """Answer with a page."""
        counts = self.desk.counts()
        text = self.page(name, visit, visit.language, counts=counts, **more)
        return Response(text, status, media_type="text/html")

    def note(self, actor: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Write into the audit chain, and wait until it is there. Raises ``StoreError``."""
        self.write(lambda books: books.log(actor[:160], action, subject, detail))

    def viewed(self, visit: Visit, subject: str, detail: Mapping[str, Any]) -> None:
        """Write down that somebody looks at evidence: before it is shown, or it is not shown."""
        self.note(visit.person, "evidence.viewed", subject, detail)

    def write(self, change: Callable[[Books], Any]) -> Any:
        """Change the books through the batching writer. Raises ``BountyguardError``."""
        try:
            return self.writer.submit(change).result(timeout=AUDIT_WITHIN_S)
        except TimeoutError as error:
            raise StoreError("store.unreachable", "the books do not answer") from error

    def text_of(self, digest: str, media_type: str) -> str | None:
        """Read the text of a file, as the text room reads it; None where it cannot be read."""
        try:
            return self._reader.pages(digest, media_type, self.house.blobs, self._decoder).text
        except ContentError:
            return None

    def kept(self, name: str, seconds: float, make: Callable[[], T]) -> T:
        """Make something that costs, or return what was made not long ago."""
        made = self._kept.get(name)
        if made is None or self.ticks() - made[0] > seconds:
            made = self._kept[name] = (self.ticks(), make())
        found: T = made[1]
        return found

    def static(self, name: str) -> Response:
        """Answer with a file of the console's own."""
        if name not in STATIC:
            raise UsageError("page.unknown", "there is no such file")
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response(self._static[name], media_type=STATIC[name], headers=headers)


def url(path: str, **query: Any) -> str:
    """Make a link inside the console; ids go into the query, where anything may stand."""
    told = {k: v for k, v in query.items() if v not in (None, "")}
    return ROOT + path + ("?" + urlencode(told, quote_via=quote) if told else "")


def go(path: str, **query: Any) -> Response:
    """Send the browser to another page of the console."""
    return RedirectResponse(url(path, **query), 303)


def mount(app: Starlette, console: Console) -> None:
    """Hang the console into an application, at ``/console``."""

    async def bare(request: Request) -> Response:
        return RedirectResponse(f"{ROOT}/", 307)

    app.router.routes.append(Route(ROOT, bare, methods=["GET"]))
    app.router.routes.append(Mount(ROOT, app=_application(console)))


def _application(console: Console) -> ASGIApp:
    from pipeline.entry.console import case_pages, pages

    def get(path: str, make: Callable[[Console, Visit], Response]) -> Route:
        return Route(path, _inside(console, make), methods=["GET"])

    def post(path: str, make: Callable[[Console, Visit], Response]) -> Route:
        return Route(path, _inside(console, make), methods=["POST"])

    door = _Door(console)
    app = Starlette(
        routes=[
            Route("/static/{name}", door.static, methods=["GET"]),
            Route("/sign-in", door.form, methods=["GET"]),
            Route("/sign-in", door.enter, methods=["POST"]),
            Route("/sign-out", door.leave, methods=["POST"]),
            get("/", pages.queue),
            get("/cases/{case_id}", case_pages.show),
            get("/cases/{case_id}/picture", case_pages.picture),
            get("/cases/{case_id}/drawing", case_pages.drawing),
            post("/cases/{case_id}/decide", case_pages.decide),
            post("/cases/{case_id}/snooze", case_pages.snooze),
            get("/workers", pages.worker),
            get("/clusters", pages.cluster),
            post("/clusters", pages.decide_cluster),
            get("/rules", pages.rules),
            get("/quarantine", pages.quarantine),
            post("/language", pages.language),
        ],
        exception_handlers={
            BountyguardError: _on_refusal(console),
            HTTPException: _on_http(console),
            Exception: _on_bug(console),
        },
    )
    app.router.redirect_slashes = False
    return _Headers(app)


class _Headers:
    """Puts the safety headers on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.lower().encode() not in present
                    ),
                ]
            await send(message)

        await self._app(scope, receive, tell)


def _inside(
    console: Console, make: Callable[[Console, Visit], Response]
) -> Callable[[Request], Any]:
    """Let in who is signed in, check a form's token, and make the page in a thread."""

    async def answer(request: Request) -> Response:
        session = await to_thread.run_sync(console.sessions.find, request.cookies.get(doors.COOKIE))
        if session is None:
            if request.method == "GET":
                asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return go("/sign-in", next=asked)
            raise UsageError("session.none", "sign in first")
        form = await read_form(request) if request.method == "POST" else {}
        if request.method == "POST" and not (
            from_here(request) and doors.same(form.get("csrf"), session.csrf)
        ):
            raise UsageError(
                "form.forged", "this form is not one of ours, or is of another session"
            )
        visit = Visit(
            session=session,
            query={k: v.replace("\x00", "")[:500] for k, v in request.query_params.items()},
            path=request.path_params,
            form=form,
            language=session.language or words.preferred(request.headers.get("accept-language")),
        )
        return await to_thread.run_sync(make, console, visit)

    return answer


class _Door:
    """Sign-in, sign-out, and the files that the sign-in page needs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def static(self, request: Request) -> Response:
        return self._console.static(request.path_params["name"])

    async def form(self, request: Request) -> Response:
        token = request.cookies.get(doors.DOOR_COOKIE, "")
        return self._page(request, token if len(token) >= 32 else secrets.token_urlsafe(32))

    async def enter(self, request: Request) -> Response:
        form = await read_form(request)
        token = request.cookies.get(doors.DOOR_COOKIE)
        if not (from_here(request) and doors.same(form.get("csrf"), token)):
            raise UsageError("form.forged", "this form is not one of ours: open the page again")
        address = request.client.host if request.client else ""
        if not self._console.tries.spend(address):
            return self._page(request, str(token), 429, "sign_in.too_often")
        opened = await to_thread.run_sync(self._console.sessions.sign_in, form.get("key", ""))
        if opened is None:
            log.warning("console sign-in refused", address=address)
            return self._page(request, str(token), 403, "sign_in.refused")
        cookie, session = opened
        await to_thread.run_sync(
            self._console.note, session.person, "console.signed_in", session.key_id, {}
        )
        answer = RedirectResponse(doors.within(form.get("next")), 303)
        _set(answer, request, doors.COOKIE, cookie, int(doors.WHOLE_S))
        answer.delete_cookie(doors.DOOR_COOKIE, path=ROOT)
        return answer

    async def leave(self, request: Request) -> Response:
        cookie = request.cookies.get(doors.COOKIE)
        session = await to_thread.run_sync(self._console.sessions.find, cookie)
        form = await read_form(request)
        if session and from_here(request) and doors.same(form.get("csrf"), session.csrf):
            self._console.sessions.end(cookie)
            await to_thread.run_sync(
                self._console.note, session.person, "console.signed_out", session.key_id, {}
            )
        answer = go("/sign-in")
        answer.delete_cookie(doors.COOKIE, path=ROOT)
        return answer

    def _page(self, request: Request, token: str, status: int = 200, fault: str = "") -> Response:
        language = words.preferred(request.headers.get("accept-language"))
        text = self._console.page(
            "sign_in.html", None, language, csrf=token, fault=fault, counts={},
            next=doors.within(request.query_params.get("next")),
        )  # fmt: skip
        headers = {"Retry-After": "60"} if status == 429 else None
        answer = Response(text, status, media_type="text/html", headers=headers)
        _set(answer, request, doors.DOOR_COOKIE, token, 3600)
        return answer


def _set(answer: Response, request: Request, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(
        name, value, max_age=seconds, path=ROOT, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip


async def read_form(request: Request) -> dict[str, str]:
    """Read a form. Raises ``UsageError('form.unreadable')`` for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    try:
        if kind != "application/x-www-form-urlencoded":
            raise ValueError(kind)
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX,
            errors="strict",
        )  # fmt: skip
    except ValueError as error:
        raise UsageError("form.unreadable", "a form was expected") from error
    return {name: value.replace("\x00", "") for name, value in pairs}


def from_here(request: Request) -> bool:
    """Tell whether the browser says that the request comes from this very site, where it says so.

    ``Sec-Fetch-Site`` has the first word: a proxy may change the host that ``Origin`` is compared with.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")


# --- errors --------------------------------------------------------------------------------


def _fault(console: Console, request: Request, status: int, code: str, told: str) -> Response:
    language = words.preferred(request.headers.get("accept-language"))
    text = console.page(
        "fault.html", None, language, status=status, code=code, told=told, counts={}
    )
    return Response(text, status, media_type="text/html")


def _on_refusal(console: Console) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, BountyguardError)
        default = (
            503 if isinstance(error, StoreError) else 409 if isinstance(error, LedgerError) else 422
        )
        status = STATUS_OF.get(error.code, default)
        return _fault(console, request, status, error.code, error.message)

    return answer


def _on_http(console: Console) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _fault(console, request, error.status_code, "page.unknown", str(error.detail))

    return answer


def _on_bug(console: Console) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return _fault(console, request, 500, "server.error", "")

    return answer


__all__ = ["Console", "Visit", "go", "mount", "url"]
