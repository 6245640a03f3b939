"""The page in a real browser. Without Chromium these tests fail: a page nobody has looked at is not tested."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from coach.settings import Settings, load_settings
from coach.testing.stub_provider import StubProvider
from tests.live.conftest import SECRET, ApiUser, coach_url, token_for
from tests.stub.fixtures import asking

__all__ = ["coach_url", "token_for"]

expect.set_options(timeout=20_000)


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
        **asking(provider),
        monthly_limit=20,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests of a module: starting it takes longer than most of them."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        # As root, and in most containers, its sandbox cannot start.
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Not asynchronous here: these tests share the browser's event loop."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest_asyncio.fixture(loop_scope="module")
async def ann(coach_url: str, owner: psycopg.Connection[Any], token_for: Callable[..., str]) -> AsyncIterator[ApiUser]:
    user_id = uuid4()
    owner.execute("insert into auth.users (id) values (%s)", (user_id,))
    async with httpx.AsyncClient(base_url=coach_url, timeout=30) as client:
        yield ApiUser(user_id, client, token_for(user_id))


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, coach_url: str, model_stub: StubProvider) -> AsyncIterator[Page]:
    """A tab that knows nothing yet. Whatever it complains of, a refused script included, fails the test."""
    context = await browser.new_context(base_url=coach_url, viewport={"width": 1100, "height": 800})
    context.set_default_timeout(20_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    await context.close()
    # A turn goes on without its page, and is named afterwards: neither may reach the next test's provider.
    await model_stub.until(lambda stub: stub.open_streams == 0)
    # A refused request is told on the page; the browser notes it besides.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest_asyncio.fixture(loop_scope="module")
async def signed_in(page: Page, ann: ApiUser) -> Page:
    await page.goto(f"/#token={ann.token}")
    await page.locator("#welcome").wait_for()
    return page


class Cable:
    """A wire between the browser and the server that can be pulled out."""

    def __init__(self, server: str) -> None:
        self._host, self._port = server.removeprefix("http://").split(":")
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Cable:
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pull()
        self._listener.close()

    def pull(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection(self._host, int(self._port))
        self._open |= {writer, onward[1]}
        await asyncio.gather(self._pass(reader, onward[1]), self._pass(onward[0], writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()
        self._open.discard(writer)


@pytest_asyncio.fixture(loop_scope="module")
async def cable(coach_url: str) -> AsyncIterator[Cable]:
    async with Cable(coach_url) as cable:
        yield cable


async def ask(page: Page, question: str) -> Any:
    """Type a question, press Enter; the answer's element."""
    await page.locator("#question").fill(question)
    await page.locator("#question").press("Enter")
    return page.locator(".message.coach").last
