"""Fixtures that every kind of test may use; what they start, they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.async_api import Playwright, async_playwright
from vardrum.bench import unhurried
from vardrum.bench.network.namespaces import Namespace
from vardrum.control.store.store import Store
from vardrum.tests.support.chromium import Chromium
from vardrum.tests.support.firefox import Firefox
from vardrum.tests.support.page import Page
from vardrum.tests.support.postgres import TEMPLATE, PostgresServer
from vardrum.tests.support.server import Server
from vardrum.tests.support.speech import speech

ROOT = Path(__file__).parents[1]
FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    # Before any codec is opened: libsvtav1 would make this process real-time, and all browsers that it starts with it.
    unhurried.give_up()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line with a measured figure, to be printed after the last test, whether they passed or not."""
    return request.config.stash[FIGURES].append


# Machines are shared: how long an example takes says nothing. The blob replays a failure.
settings.register_profile("vardrum", deadline=None, print_blob=True)
settings.load_profile("vardrum")


@pytest.fixture(scope="session")
def made() -> Path:
    """A folder for what is made once and kept between runs: speech, films."""
    return ROOT / "build" / "test-media"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Both databases for tests that are about what is kept; SQLite is enough for the others.
    wanted = metafunc.definition.get_closest_marker("both_databases")
    if "database" in metafunc.fixturenames and wanted is not None and wanted.args != (False,):
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run, with a database that has all tables, to be copied."""
    with PostgresServer() as server:
        server.ask(f"CREATE DATABASE {TEMPLATE}")
        asyncio.run(_make_tables(server.address_of(TEMPLATE)))
        yield server


async def _make_tables(address: str) -> None:
    async with Store(address):
        pass


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """What `database_url` is: nothing for SQLite, or an empty database of PostgreSQL (`both_databases`)."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
    else:
        with request.getfixturevalue("postgres").database(TEMPLATE) as address:
            yield address


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A running `vardrum serve` with an empty data directory, that logs all it ever would."""
    async with Server(tmp_path / "server", env={"VARDRUM_LOG__LEVEL": "debug"}) as running:
        yield running


@pytest.fixture
async def playwright() -> AsyncIterator[Playwright]:
    """Playwright's driver."""
    async with async_playwright() as driver:
        yield driver


class Browsers:
    """Opens a browser for each participant, and closes them all at the test's end."""

    def __init__(self, playwright: Playwright, scratch: Path, media: Path) -> None:
        self._playwright = playwright
        self._scratch = scratch
        self._media = media
        self._stack = AsyncExitStack()
        self._count = 0

    async def __aenter__(self) -> Browsers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def chromium(
        self,
        name: str,
        *,
        picture: Path | None = None,
        voice: str = "en",
        frame_rate: int = 15,
        trusted: tuple[str, ...] = (),
        names: Mapping[str, str] | None = None,
        key: str = "",
        prefix: tuple[str, ...] = (),
        width: int = 1000,
        height: int = 700,
    ) -> Page:
        """A page in a Chromium process of its own, whose microphone speaks with `voice`."""
        browser = await Chromium.start(
            self._playwright,
            sound=speech(self._media, voice),
            picture=picture,
            frame_rate=frame_rate,
            trusted=trusted,
            names=names,
            key=key,
            prefix=prefix,
            scratch=self._scratch,
        )
        self._stack.push_async_callback(browser.stop)
        return Page(await browser.tab(width=width, height=height), name)

    async def firefox(self, name: str, *, namespace: Namespace | None = None) -> Page:
        """A page in a Firefox process of its own."""
        self._count += 1
        browser = await Firefox.start(self._scratch / f"firefox-{self._count}", namespace=namespace)
        self._stack.push_async_callback(browser.stop)
        return Page(await browser.tab(), name)


@pytest.fixture
async def browsers(playwright: Playwright, tmp_path: Path, made: Path) -> AsyncIterator[Browsers]:
    """Real browsers with fake devices."""
    async with Browsers(playwright, tmp_path, made) as opened:
        yield opened
