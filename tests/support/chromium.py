"""Chromium with fake devices, one process for each participant, driven through Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Playwright
from playwright.async_api import Page as PlaywrightPage

from .page import RECORDER

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
    """The system's Chromium, else the one that `make test` has put under build/browsers (Ubuntu)."""
    for name in ("chromium", "google-chrome"):
        found = shutil.which(name)
        if found and "/snap/" not in Path(found).read_bytes()[:4096].decode("latin-1"):
            return found
    return playwright.chromium.executable_path


class ChromiumTab:
    """A page in a profile of its own (see `page.Tab`)."""

    def __init__(self, context: BrowserContext, page: PlaywrightPage) -> None:
        self.context = context
        self.page = page

    async def goto(self, url: str) -> None:
        await self.page.goto(url)

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
        prefix: Sequence[str] = (),
        scratch: Path | None = None,
    ) -> Chromium:
        """
        Args:
            sound: a WAV that its microphone plays in a loop.
            picture: a Y4M that its camera shows; its own test picture when None.
            frame_rate: of its own test picture.
            trusted: origins that may use devices without TLS and without being localhost.
            prefix: what runs the browser, such as a namespace's `nsenter …`; needs `scratch`, a folder.
        """
        program = executable(playwright)
        if prefix:
            assert scratch is not None, "a prefix needs a folder for its script"
            script = scratch / f"chromium-{os.urandom(4).hex()}"
            script.write_text(f'#!/bin/sh\nexec {" ".join(prefix)} {program} "$@"\n')
            script.chmod(0o755)
            program = str(script)
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={sound}"]
        flags.append(f"--use-fake-device-for-media-stream=fps={frame_rate}")
        if picture is not None:
            flags.append(f"--use-file-for-fake-video-capture={picture}")
        if trusted:
            flags.append(f"--unsafely-treat-insecure-origin-as-secure={','.join(trusted)}")
        return cls(await playwright.chromium.launch(executable_path=program, headless=True, args=flags))

    async def tab(self, *, width: int = 1000, height: int = 700, language: str = "en") -> ChromiumTab:
        """A page in a fresh profile, with devices allowed and the recorder in place."""
        context = await self._browser.new_context(viewport={"width": width, "height": height}, locale=language)
        await context.add_init_script(RECORDER)
        return ChromiumTab(context, await context.new_page())

    async def stop(self) -> None:
        await self._browser.close()
