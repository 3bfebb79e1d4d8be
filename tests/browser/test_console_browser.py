"""A person at the console, in a real browser: sign in, look at evidence, decide, see it gone.

Drives the Chromium that the system has; ``BOUNTYGUARD_BROWSER`` names another.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from console_worlds import demo_home, demo_made, opened_site
from pipeline.stores.audit import AuditLog
from tests.e2e.test_serve import served

__all__ = ["demo_home", "demo_made"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
    "--disable-component-update", "--no-first-run",
)  # fmt: skip

pytestmark = pytest.mark.browser


def browser_path() -> str:
    """Find a browser that starts, or skip."""
    named = os.environ.get("BOUNTYGUARD_BROWSER")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(
            "no browser is found: install one (apt-get install chromium) or name it by "
            "BOUNTYGUARD_BROWSER"
        )
    asked = subprocess.run([found, "--version"], capture_output=True, timeout=60, check=False)
    if asked.returncode != 0 and named is None:
        pytest.skip(f"the browser {found} does not start here")
    return found


@pytest.fixture
def context(tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser with a profile of its own that nobody has used before."""
    path = browser_path()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=path, args=list(ARGUMENTS), locale="en-GB",
            viewport={"width": 1280, "height": 900}, chromium_sandbox=False,
        )  # fmt: skip
        opened.set_default_timeout(30_000)
        yield opened
        opened.close()


def key_of(home: Path, folder: Path, name: str) -> str:
    """Make a person's key, as `bountyguard keys make` does."""
    with opened_site(home, folder) as site:
        return site.key(name)


def watch(page: Page, origin: str) -> list[str]:
    """Note what should never happen: messages of the console, errors, other sites asked."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(origin) else told.append(r.url))
    page.on("response", lambda r: told.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    return told


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/console/")
    expect(page).to_have_url(f"{url}/console/sign-in?next=%2Fconsole%2F")
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{url}/console/")


def pixels_of(page: Page, selector: str) -> list[int]:
    """Say how wide each picture came out: 0 for one that did not load."""
    images = page.locator(selector)
    for image in images.all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
    return [int(n) for n in images.evaluate_all("found => found.map(i => i.naturalWidth)")]


def test_a_person_signs_in_looks_decides_and_sees_it_gone(
    demo_home: Path, context: BrowserContext, tmp_path: Path
) -> None:
    key = key_of(demo_home, tmp_path, "li.wei")
    with served(demo_home) as url:
        page = context.pages[0]
        told = watch(page, url)
        sign_in(page, url, key)
        cookies = context.cookies()
        assert [c["httpOnly"] for c in cookies] == [True]
        assert page.evaluate("document.cookie") == ""

        # A picture laid over its source, blinking by the keyboard.
        page.get_by_role("link", name="poster-7", exact=True).click()
        expect(page.get_by_role("heading", name="poster-7")).to_be_visible()
        assert all(pixels_of(page, ".plates img, .stack img"))
        upper = page.locator(".stack .upper")
        expect(upper).to_have_css("opacity", "0")
        page.get_by_label("Earlier, laid over").check()
        expect(upper).to_have_css("opacity", "1")
        page.keyboard.press("b")
        expect(upper).to_have_css("animation-name", "blink")

        # A text whose disguise is visible, decided.
        page.keyboard.press("u")
        page.get_by_role("link", name="bicycle-6", exact=True).click()
        expect(page.locator(".sides .alike").first).to_have_attribute(
            "title", "U+0430 CYRILLIC SMALL LETTER A"
        )
        page.locator("h1").click()
        page.keyboard.press("1")
        expect(page.get_by_role("radio", name="Confirm")).to_be_checked()
        page.keyboard.type("Copied word by word from bicycle-3.")
        page.get_by_role("button", name="Decide").click()
        expect(page.get_by_role("status")).to_contain_text("Confirm")
        expect(page.get_by_role("link", name="bicycle-6", exact=True)).to_have_count(0)
        page.get_by_role("link", name="Decided by me").click()
        page.get_by_role("link", name="bicycle-6", exact=True).click()
        expect(page.locator(".deciding")).to_contain_text("Copied word by word from bicycle-3.")

        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{url}/console/rules")
        expect(page.get_by_label("Your key")).to_be_visible()
        assert told == []
    with opened_site(demo_home, tmp_path) as site:
        assert len(site.audit("evidence.viewed")) >= 8
        assert [row["actor"] for row in site.audit("case.decided")] == ["li.wei"]
        assert AuditLog(site.house.database).verify() == []


def test_everything_that_decides_works_without_script_on_a_narrow_screen(
    demo_home: Path, tmp_path: Path
) -> None:
    key = key_of(demo_home, tmp_path, "li.wei")
    path = browser_path()
    with served(demo_home) as url, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=path, args=list(ARGUMENTS),
            java_script_enabled=False, locale="zh-CN", viewport={"width": 390, "height": 800},
            chromium_sandbox=False, color_scheme="dark",
        )  # fmt: skip
        page = context.pages[0]
        page.goto(f"{url}/console/")
        page.locator("#key").fill(key)
        page.get_by_role("button", name="登录").click()
        page.get_by_role("link", name="2 名执行者的 2 笔款项").click()
        page.locator(".deciding").get_by_text("撤销", exact=True).click()
        page.locator("#reason").fill("一家人共用一台设备")
        page.get_by_role("button", name="裁定").click()
        expect(page.get_by_role("status")).to_contain_text("撤销")
        context.close()
    with opened_site(demo_home, tmp_path) as site:
        states = [site.world.payout(f"ring-{n}")["state"] for n in (1, 2, 3)]
        assert states == ["posted"] * 3
