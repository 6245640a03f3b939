"""The page in a real browser. Without Chromium these tests fail: a page nobody has looked at is not tested."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from coach.bench.stub_provider import StubProvider
from coach.settings import Settings, load_settings
from tests.live.conftest import SECRET, Person, ann, client, coach_url, person, token_for

__all__ = ["ann", "client", "coach_url", "person", "token_for"]


@pytest.fixture(scope="module")
def provider() -> Iterator[StubProvider]:
    stub = StubProvider().start()
    yield stub
    stub.stop()


@pytest.fixture
def model_stub(provider: StubProvider) -> StubProvider:
    """The module's provider, as new."""
    provider.reset()
    return provider


@pytest.fixture(scope="module")
def coach_settings(database_url: str, provider: StubProvider) -> Settings:
    return load_settings(
        database_url=database_url,
        jwt_secret=SECRET,
        openai_base_url=provider.url,
        openai_api_key="stub",
        chat_model="stub",
        embedding_model="wordllama",
        monthly_limit=20,
    )


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        # As root, and in most containers, its sandbox cannot start.
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, coach_url: str, model_stub: StubProvider) -> AsyncIterator[Page]:
    """A tab. Whatever the page complains of, a refused script included, fails the test at its end."""
    assert model_stub.open_streams == 0
    context = await browser.new_context(base_url=coach_url, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(10_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    await context.close()
    # A refused request is told on the page; the browser notes it besides.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest.fixture
async def signed_in(page: Page, ann: Person) -> Page:
    await page.goto(f"/#token={ann.token}")
    await page.locator("#welcome").wait_for()
    return page


async def ask(page: Page, question: str) -> Any:
    """Type a question, press Enter; the answer's element."""
    await page.locator("#question").fill(question)
    await page.locator("#question").press("Enter")
    return page.locator(".message.coach").last
