"""The README's section "Embed it in your portal", done as it stands: from its commands to a patient in the visit.

`make walk` does all of it, in a fresh clone with a fresh virtual environment. The test leaves out the step that builds.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import async_playwright

from ...bench.process import Process
from .chromium import Chromium
from .sample import Visitor, answers, meet
from .server import free_port
from .speech import speech

ROOT = Path(__file__).parents[2]
SECTION = "Embed it in your portal"
# Only the first step builds and installs.
BUILDS = "make build"


@dataclass(frozen=True)
class Block:
    """A code block: its language and text."""

    language: str
    text: str


def section(readme: str) -> str:
    """The text of the section."""
    return readme.split(f"\n## {SECTION}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[Block]:
    """All code blocks of a text, in order."""
    return [Block(language, inner) for language, inner in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)]


def script(steps: list[Block], build: bool) -> str:
    """What somebody types who follows them; a file is written under the name in its first line."""
    lines = ["set -euo pipefail"]
    for step in steps:
        if step.language == "toml":
            name = step.text.partition("\n")[0].removeprefix("# ")
            lines.append(f"cat > {name} <<'END'\n{step.text}END")
        elif step.language == "sh" and (build or BUILDS not in step.text):
            lines.append(step.text)
    return "\n".join([*lines, "wait", ""])


@dataclass(frozen=True)
class Walked:
    """Seconds from the first command to each point."""

    serving: float
    admitted: float


async def walk(folder: Path, media: Path, *, build: bool) -> Walked:
    """Do what the README says in `folder`, and what it says that people then do in their windows.

    Args:
        media: where speech is made.
        build: whether `folder` is a clone, to be built and installed from; else what is installed here is used.
    """
    text = section((ROOT / "README.md").read_text(encoding="utf-8"))
    # The ports may be taken on this machine.
    for port in sorted(set(re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", text))):
        text = text.replace(f":{port}", f":{free_port()}")
    server, portal = (re.findall(pattern, text)[0] for pattern in (r'public_url = "(.+?)"', r"Open (http://\S+)"))
    begun = time.monotonic()
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    env = {"VARDRUM_MEDIA__PORT": "0", "VARDRUM_METRICS__LISTEN": "127.0.0.1:0"}
    shell = await Process.start(
        ["bash", "-c", f"cd {folder}\n" + script(blocks(text), build)],
        log=folder / "walk.log",
        env=env if build else {**env, "PATH": path},
    )
    try:
        for url in (server, portal):
            await answers(url + "/", shell, deadline=1800 if build else 90)
        serving = time.monotonic() - begun
        async with async_playwright() as playwright:
            chromium = await Chromium.start(playwright, sound=speech(media, "sv"))
            try:
                sara, anna = [Visitor(await chromium.tab(language="sv"), portal, user) for user in ("sara", "anna")]
                await asyncio.gather(sara.log_in(), anna.log_in())
                visit = await sara.book()
                await sara.enter("admitted")
                await anna.outside.goto(portal)
                await anna.outside.locator(f"a[href='{visit.removeprefix(portal)}']").click()
                await anna.enter("waiting")
                await sara.visit.click("admit", within='[data-testid="queue-entry"]')
                await anna.visit.until("admitted")
                admitted = time.monotonic() - begun
                await meet(sara, anna)
            finally:
                await chromium.stop()
        return Walked(serving, admitted)
    except BaseException:
        print(shell.output())
        raise
    finally:
        await shell.stop()


def main() -> None:
    """All of it, from a clone of what is committed here."""
    with tempfile.TemporaryDirectory(prefix="vardrum-walk-") as scratch:
        folder = Path(scratch) / "vardrum"
        begun = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        cloned = time.monotonic() - begun
        found = asyncio.run(walk(folder, ROOT / "build" / "test-media", build=True))
    print(
        f"from an empty folder: cloned after {cloned:.0f} s, serving after {cloned + found.serving:.0f} s, "
        f"the patient in the visit after {cloned + found.admitted:.0f} s"
    )


if __name__ == "__main__":
    main()
