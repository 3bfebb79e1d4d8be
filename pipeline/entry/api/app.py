"""Makes the application: routes, errors, limits, OpenAPI 3.1 with the lean route written in."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from pipeline.entry.api import checks, deliveries, problems
from pipeline.entry.api.edge import LEAN, Edge, Metrics
from pipeline.entry.api.guard import Guard
from pipeline.entry.api.routes import router
from pipeline.entry.api.services import Services
from pipeline.model.errors import BountyguardError, StoreError
from pipeline.stores.database import HEAD

OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"})
REFUSALS: Final = ("400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503")


def create_app(services: Services) -> FastAPI:
    """Make the API over these services. Closing it lets the writer finish what is queued."""
    metrics = Metrics()
    guard = Guard(services)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # what start-up made stays: no collection pauses a check to walk it again
        yield
        await to_thread.run_sync(services.writer.close)
        await to_thread.run_sync(services.reader.close)

    app = FastAPI(
        title="Bountyguard",
        version=_version(),
        summary="The word that lets a payment go.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(router(services, guard))
    app.include_router(deliveries.router(services, guard))
    _health(app, services, metrics)
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(BountyguardError, problems.on_problem)
    app.add_exception_handler(HTTPException, problems.on_http)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(Exception, problems.on_bug)
    lean = checks.ScoreChecks(services, guard, metrics)
    app.add_middleware(Edge, lean=lean, limits=services.limits, metrics=metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _version() -> str:
    try:
        return version("bountyguard")
    except PackageNotFoundError:
        return "0"


def _health(app: FastAPI, services: Services, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses={503: {"description": "not ready"}})
    async def readyz() -> Response:
        """Checks can be answered: the database answers, and neither rules nor indexes are stale."""
        faults = await to_thread.run_sync(_faults, services)
        if faults:
            return problems.response(503, "not_ready", "; ".join(faults), {"Retry-After": "5"})
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def tell_metrics() -> Response:
        """Figures for Prometheus."""
        return Response(
            generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    @app.get("/.well-known/jwks.json", tags=["gate"])
    async def jwks() -> dict[str, Any]:
        """The public keys that permits are signed with."""
        return services.permits.jwks(services.clock())


def _faults(services: Services) -> list[str]:
    faults = list(services.ready())
    if not services.writer.alive:
        faults.append("the ledger's writer has stopped")
    try:
        stands_at = services.database.version()
        if stands_at != HEAD:
            faults.append(f"the database stands at revision {stands_at}, not {HEAD}")
    except StoreError:
        faults.append("the database does not answer")
    return faults


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Describe the API: the lean route by hand, every refusal as a problem, the key's scheme."""
    if app.openapi_schema:
        return app.openapi_schema
    told = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes,
        openapi_version="3.1.0",
    )  # fmt: skip
    told["paths"][LEAN] = {"post": dict(checks.OPENAPI)}
    parts = told.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = problems.SCHEMA
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    refusal = {
        "description": "a problem (RFC 9457)",
        "content": {problems.MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path, methods in told["paths"].items():
        for operation in methods.values():
            if path in OPEN:
                if path == "/readyz":
                    operation["responses"]["503"] = refusal
                continue
            operation["security"] = [{"key": []}]
            operation["responses"] |= dict.fromkeys(REFUSALS, refusal)
    app.openapi_schema = told
    return told
