"""Chromium with fake devices, driven through Playwright, and the gestures that our pages are made for."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from playwright.async_api import Browser, BrowserContext, Playwright, ViewportSize
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page as PlaywrightPage

from . import unhurried
from .unhurried import launcher
from .waiting import wait_until

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # Without these a page may not reach a media address beside its own, and hides its addresses behind mDNS names.
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,"
    "LocalNetworkAccessChecksWebRTC",
)


def executable(playwright: Playwright) -> str:
    """The system's Chromium, else the one that `make test` has put under build/browsers (Ubuntu); see `unhurried`."""
    for name in ("chromium", "google-chrome"):
        found = shutil.which(name)
        if found and "/snap/" not in Path(found).read_bytes()[:4096].decode("latin-1"):
            return launcher(found)
    return launcher(playwright.chromium.executable_path)


class ChromiumTab:
    """A page in a profile of its own (see `Tab`)."""

    def __init__(self, context: BrowserContext, page: PlaywrightPage) -> None:
        self.context = context
        self.page = page

    async def goto(self, url: str) -> None:
        """Loads a page; again where it was given up because the network changed, as a fresh namespace's still does."""
        for again in (True, True, False):
            try:
                await self.page.goto(url)
            except PlaywrightError as error:
                if not again or "ERR_NETWORK_CHANGED" not in error.message:
                    raise
            else:
                return

    async def reload(self) -> None:
        await self.page.reload()

    async def evaluate(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def screenshot(self, path: Path) -> None:
        await self.page.screenshot(path=path)

    async def resize(self, width: int, height: int) -> None:
        await self.page.set_viewport_size({"width": width, "height": height})

    async def close(self) -> None:
        await self.context.close()


class Chromium:
    """A Chromium process."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @classmethod
    async def start(
        cls,
        playwright: Playwright,
        *,
        sound: Path,
        picture: Path | None = None,
        frame_rate: int = 15,
        trusted: Sequence[str] = (),
        names: Mapping[str, str] | None = None,
        key: str = "",
        prefix: Sequence[str] = (),
        scratch: Path | None = None,
    ) -> Self:
        """
        Args:
            sound: a WAV that its microphone plays in a loop.
            picture: a Y4M that its camera shows; its own test picture when None.
            frame_rate: of its own test picture.
            trusted: origins that may use devices without TLS and without being localhost.
            names: host names, and the addresses that they stand for.
            key: of the certificate that it takes although it knows no authority of it: base64 of SHA-256 over its
                SubjectPublicKeyInfo.
            prefix: what runs the browser, such as a namespace's `nsenter …`; needs `scratch`, a folder.
        """
        program = executable(playwright)
        if prefix:
            assert scratch is not None, "a prefix needs a folder for its script"
            script = scratch / f"chromium-{os.urandom(4).hex()}"
            script.write_text(f'#!/bin/sh\nexec {shlex.join([*prefix, *unhurried.prefix(), program])} "$@"\n')
            script.chmod(0o755)
            program = str(script)
        else:
            program = unhurried.launcher(program)
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={sound}"]
        flags.append(f"--use-fake-device-for-media-stream=fps={frame_rate}")
        if picture is not None:
            flags.append(f"--use-file-for-fake-video-capture={picture}")
        if trusted:
            flags.append(f"--unsafely-treat-insecure-origin-as-secure={','.join(trusted)}")
        if names:
            # WebRTC asks for names with a dot at their end.
            rules = [f"MAP {one}{dot} {address}" for one, address in names.items() for dot in ("", ".")]
            flags.append(f"--host-resolver-rules={','.join(rules)}")
        if key:
            flags.append(f"--ignore-certificate-errors-spki-list={key}")
        return cls(await playwright.chromium.launch(executable_path=program, headless=True, args=flags))

    async def tab(
        self, *, width: int = 1000, height: int = 700, language: str = "en", script: str = "", **more: Any
    ) -> ChromiumTab:
        """A page in a fresh profile, with devices allowed.

        Args:
            script: runs in every document before its own scripts.
            more: further options of Playwright's `new_context`, for phones.
        """
        viewport: ViewportSize = {"width": width, "height": height}
        context = await self._browser.new_context(viewport=viewport, locale=language, **more)
        if script:
            await context.add_init_script(script)
        return ChromiumTab(context, await context.new_page())

    async def stop(self) -> None:
        await self._browser.close()


class Tab(Protocol):
    """One page in a browser with fake devices."""

    async def goto(self, url: str) -> None:
        """Open `url`; returns when its document has loaded."""

    async def reload(self) -> None:
        """Load the page again, as a person would; returns when its document has loaded."""

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""

    async def screenshot(self, path: Path) -> None:
        """A PNG of what is on screen."""

    async def resize(self, width: int, height: int) -> None:
        """Make the page's viewport this many CSS pixels."""

    async def close(self) -> None:
        """Close the page, as a person would."""


# What the page knows of its connection, for the text of a failure.
MEDIA = """(async () => {
  const { vardrum } = window;
  const inbound = {};
  for (const one of (await vardrum?.peerConnection?.getStats())?.values() ?? []) {
    if (one.type !== "inbound-rtp") continue;
    const { kind, mid, packetsReceived, framesReceived, framesDecoded, keyFramesDecoded, pliCount } = one;
    inbound[mid] = [kind, packetsReceived, framesReceived, framesDecoded, keyFramesDecoded, pliCount, one.frameHeight];
  }
  return JSON.stringify({
    now: performance.now(),
    connection: vardrum?.peerConnection?.connectionState,
    ice: vardrum?.peerConnection?.iceConnectionState,
    online: vardrum?.online,
    silent: vardrum?.silent,
    offers: vardrum?.offers,
    slots: vardrum?.slots?.map((s) => [s.mid, s.display_name, s.source, s.paused, s.picture]),
    videos: [...document.querySelectorAll("video")].map((v) => [v.id, v.currentTime, v.paused, v.videoHeight,
      v.srcObject?.getTracks().map((t) => [t.readyState, t.muted])]),
    // kind; packets and frames received, frames and key frames decoded, PLIs, height
    inbound,
  });
})()"""


class Page:
    """A `Tab` with the gestures that our pages are made for: everything is found by `data-testid`."""

    def __init__(self, tab: Tab, name: str) -> None:
        self.tab = tab
        self.name = name

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; a promise is awaited."""
        return await self.tab.evaluate(expression)

    async def shows(self, testid: str, within: str = "") -> bool:
        """Whether something with this test id is on screen, `within` a CSS selector when given."""
        found = json.dumps(self._selector(testid, within))
        return bool(
            await self.evaluate(f"[...document.querySelectorAll({found})].some((e) => e.getClientRects().length > 0)")
        )

    async def wait_for(self, testid: str, *, within: str = "", deadline: float = 10.0) -> None:
        """Until something with this test id is on screen.

        Raises:
            TimeoutError: with what the page shows instead.
        """
        what = f"{self._selector(testid, within)} on the page of {self.name}"
        await self.wait(lambda: self.shows(testid, within), what, deadline=deadline)

    async def wait(self, condition: Callable[[], Any], what: str, *, deadline: float = 10.0) -> Any:
        """`wait_until`, with what the page shows in the failure's text."""
        try:
            return await wait_until(condition, deadline=deadline, what=what, every=0.1)
        except TimeoutError as error:
            text = await self.evaluate("document.body.innerText.slice(0, 600)")
            # `recorder` is the tests' own.
            errors = await self.evaluate("window.recorder?.errors ?? []")
            messages = await self.evaluate("(window.recorder?.received ?? []).slice(-12).map((m) => m.type)")
            media = await self.evaluate(MEDIA)
            raise TimeoutError(
                f"{error}\npage: {text}\nerrors: {errors}\nlast messages: {messages}\nmedia: {media}"
            ) from None

    async def click(self, testid: str, *, within: str = "", deadline: float = 10.0) -> None:
        """Click it as soon as it is on screen and enabled."""
        selector = json.dumps(self._selector(testid, within))
        script = (
            f"(() => {{ const e = [...document.querySelectorAll({selector})]"
            ".find((e) => e.getClientRects().length > 0 && !e.disabled);"
            " if (!e) return false; e.click(); return true; })()"
        )
        await self.wait(lambda: self.evaluate(script), f"{selector} enabled on {self.name}", deadline=deadline)

    async def until(self, wanted: str, *, deadline: float = 20.0) -> None:
        """Until the page says that its person is `wanted`, such as "waiting" or "admitted"."""

        async def reached() -> bool:
            found = str(await self.evaluate("window.vardrum?.state ?? ''"))
            assert found == wanted, f"state is {found!r}"
            return True

        await self.wait(reached, f"{self.name} is {wanted}", deadline=deadline)

    async def arrive(self, url: str, *, into: str = "waiting") -> None:
        """Open a link, check the devices, press join."""
        await self.tab.goto(url)
        await self.click("join", deadline=20)
        await self.until(into)

    async def admit(self, participant: str) -> None:
        """A host lets somebody in, by the button beside their name; `participant` is their id."""
        await self.click("admit", within=f'[data-testid="queue-entry"][data-participant="{participant}"]')

    @staticmethod
    def _selector(testid: str, within: str) -> str:
        return f'{within} [data-testid="{testid}"]'.strip()
