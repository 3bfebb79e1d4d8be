"""The edge of the API: request ids, limits on bodies and slow senders, metrics, logs without content."""

import asyncio
import time
from typing import Final
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.entry.api import problems
from pipeline.entry.api.services import Limits

LEAN: Final = "/v1/score-checks"
INTAKE_PATHS: Final = frozenset({"/v1/submissions", "/v1/events"})
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLOSES: Final = {"Connection": "close"}
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

log = structlog.get_logger("bountyguard.api")


class Metrics:
    """What Prometheus reads. Labels are route templates, never what was sent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bountyguard_requests_total", "Requests by route, method and status.",
            ("route", "method", "status"), registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "bountyguard_request_seconds", "Seconds from the first byte to the answer, by route.",
            ("route",), buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.answers = Counter(
            "bountyguard_score_checks_total", "Score checks by outcome.", ("outcome",),
            registry=self.registry,
        )  # fmt: skip
        self._of_request: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._of_outcome: dict[str, Counter] = {}

    def served(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. The label sets are few and are looked up once."""
        name = (route, method, status)
        found = self._of_request.get(name)
        if found is None:
            counter = self.requests.labels(route, method, str(status))
            found = self._of_request[name] = (counter, self.seconds.labels(route))
        found[0].inc()
        found[1].observe(seconds)

    def answered(self, outcome: str) -> None:
        """Count an answer of a score check."""
        counter = self._of_outcome.get(outcome)
        if counter is None:
            counter = self._of_outcome[outcome] = self.answers.labels(outcome)
        counter.inc()


class Edge:
    """The outermost ASGI layer. ``lean`` serves the score check, everything else is ``app``'s."""

    def __init__(self, app: ASGIApp, lean: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._lean = lean
        self._limits = limits
        self._metrics = metrics
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, prefix = time.perf_counter(), scope.get("root_path", "")
        request_id = uuid4().hex
        scope["request_id"] = request_id
        status = 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._under_way += 1
        try:
            await self._serve(scope, receive, tell)
        finally:
            self._under_way -= 1
            took = time.perf_counter() - started
            lean = LEAN if scope["path"] == LEAN else "-"
            route = _route_of(scope, prefix) or lean
            method = scope["method"] if scope["method"] in METHODS else "-"
            self._metrics.served(route, method, status, took)
            if route != LEAN or status >= 400:
                log.info(
                    "request", request_id=request_id, route=route, method=method,
                    status=status, ms=round(took * 1000, 2), key_id=scope.get("key_id"),
                )  # fmt: skip

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._limits
        body_max = limits.intake_body_max if scope["path"] in INTAKE_PATHS else limits.body_max
        deadline = asyncio.get_running_loop().time() + limits.body_within_s
        seen, complete, answered = 0, False, False

        async def bounded() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise problems.Problem(
                    408, "request.slow", f"the body takes longer than {limits.body_within_s:g} s",
                    CLOSES,
                ) from None  # fmt: skip
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if seen > body_max:
                    raise problems.Problem(
                        413,
                        "request.too_large",
                        f"at most {body_max} bytes",
                        CLOSES,
                    )
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = answered or message["type"] == "http.response.start"
            await send(message)

        try:
            _check_declared(scope, body_max)
            if self._under_way > limits.under_way_max:
                raise problems.Problem(503, "server.busy", "try again", {"Retry-After": "1"})
            app = self._lean if scope["path"] == LEAN else self._app
            await app(scope, bounded, watched)
        except problems.Problem as problem:
            if answered:
                raise
            refusal = problems.response(problem.status, problem.code, problem.told, problem.headers)
            await refusal(scope, receive, send)


def _check_declared(scope: Scope, body_max: int) -> None:
    """Refuse a body by the length that its sender declares. Raises ``Problem``."""
    declared = b"0"
    for name, value in scope["headers"]:
        if name == b"content-length":
            declared = value
    if not declared.isdigit() or len(declared) > 18:
        raise problems.Problem(400, "request.length", "Content-Length is no number", CLOSES)
    if int(declared) > body_max:
        raise problems.Problem(413, "request.too_large", f"at most {body_max} bytes", CLOSES)


def _route_of(scope: Scope, prefix: str) -> str | None:
    """Name the template that served a request, with where it hangs; ``prefix`` is the proxy's own."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return None
    below: str = scope.get("root_path", "").removeprefix(prefix)
    return path if path == below else below + path
