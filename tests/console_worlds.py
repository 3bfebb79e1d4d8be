"""The console over small markets and over the sample drop, and somebody who visits it."""

import asyncio
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from ledger_worlds import World, api
from pipeline.bootstrap import House, open_house
from pipeline.entry.console import Console, mount
from pipeline.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
NOON = "2026-06-01T00:00:00Z"
TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
STANDS = re.compile(r'name="stands" value="([^"]*)"')


class Ticks:
    """A clock of seconds that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Site:
    """The API with the console in it, over a house; keys for people are made here."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.ticks = Ticks()
        self.world = World(house.database)
        self.world.ledger, self.world.clock.now = house.ledger, house.settings.now()
        app, self.services = api(self.world, folder)
        self.app: FastAPI = app
        self.console = Console(house, self.services.access, self.services.writer, ticks=self.ticks)
        mount(app, self.console)

    def close(self) -> None:
        self.services.writer.close()
        self.services.reader.close()

    def key(self, name: str, *scopes: str, tenant: str | None = None) -> str:
        return str(self.services.access.make(name, scopes or ("console",), tenant=tenant))

    def person(self, name: str, **more: Any) -> "Visitor":
        visitor = Visitor(self.app, **more)
        assert visitor.sign_in(self.key(name)).status_code == 303
        return visitor

    def audit(self, action: str) -> list[dict[str, Any]]:
        return [row for row in self.world.frame("audit") if row["action"] == action]


class Visitor:
    """A browser without a window: keeps cookies, follows nothing by itself."""

    def __init__(self, app: Any, base: str = "http://gate", **headers: str) -> None:
        self._app = app
        self._base = base
        self.headers = headers
        self.cookies = httpx.Cookies()

    def get(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, **more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **more))

    def sign_in(self, key: str, **more: str) -> httpx.Response:
        token = self.token("/console/sign-in")
        return self.post("/console/sign-in", data={"csrf": token, "key": key} | more)

    def token(self, path: str) -> str:
        return TOKEN.findall(self.get(path).text)[0]

    def decide(self, case_id: str, verdict: str, reason: str = "I looked", **more: str) -> Any:
        page = self.get(f"/console/cases/{case_id}").text
        stands = STANDS.findall(page)
        form = {"csrf": TOKEN.findall(page)[0], "verdict": verdict, "reason": reason,
                "stands": stands[0] if stands else ""}  # fmt: skip
        return self.post(f"/console/cases/{case_id}/decide", data=form | more)

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=self._base, cookies=self.cookies
        ) as client:
            more["headers"] = self.headers | dict(more.get("headers") or {})
            answer = await client.request(method, path, **more)
            self.cookies = client.cookies
            return answer


@contextmanager
def opened_site(home: Path, folder: Path, **environment: str) -> Iterator[Site]:
    """Open the house in that folder, at a fixed time, and the console over it."""
    settings = load_settings({"BOUNTYGUARD_CLOCK": NOON} | environment, home=home)
    with open_house(settings) as house:
        site = Site(house, folder)
        yield site
        site.close()


@pytest.fixture(scope="session")
def demo_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample drop, taken through the line once for all who test side by side: do not change it."""
    from pipeline.line import run_line

    mine = (
        tmp_path_factory.getbasetemp()
    )  # of a worker, where several test: then beside the others'
    shared = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "console-demo"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home, whole = shared / "home", shared / "whole"
        if not whole.exists():
            shutil.rmtree(home, ignore_errors=True)
            with open_house(load_settings({"BOUNTYGUARD_CLOCK": NOON}, home=home)) as house:
                run_line(house, ROOT / "data" / "demo" / "drop")
            whole.touch()
    return home


@pytest.fixture
def demo_home(demo_made: Path, tmp_path: Path) -> Path:
    """A copy of that home, to do with as a test likes."""
    home = tmp_path / "home"
    shutil.copytree(demo_made, home)
    return home
