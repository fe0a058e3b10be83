"""The README's picture, taken of the real pages in a running visit: `make picture`.

python -m vardrum.tests.support.picture OUTPUT.png
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import async_playwright

from ..conftest import Browsers
from .portal import Portal, create_key
from .server import Server
from .visit import NO_DOCUMENTS, admit, arrive, meets

Colour: TypeAlias = tuple[int, int, int]  # R, G, B

WIDTH, HEIGHT = 640, 360
# Who, and how they are drawn: wall, hair, how far from the middle, long hair.
PEOPLE = (
    (
        {"display_name": "Sara Lind, läkare", "role": "caregiver", "host": True},
        ((70, 96, 110), (72, 52, 40), 0.0, True),
    ),
    ({"display_name": "Anna Berg", "role": "patient"}, ((176, 150, 120), (150, 120, 84), 0.06, True)),
    ({"display_name": "Erik Berg", "role": "relative"}, ((108, 128, 104), (58, 46, 42), -0.05, False)),
    ({"display_name": "Leyla Demir, tolk", "role": "interpreter"}, ((128, 116, 146), (38, 32, 36), 0.02, True)),
)
SKIN: Colour = (222, 178, 150)
CLOTHES: tuple[Colour, ...] = ((238, 242, 244), (196, 92, 76), (64, 92, 140), (66, 120, 110))


def person(wall: Colour, hair: Colour, clothes: Colour, lean: float, long_hair: bool) -> NDArray[np.uint8]:
    """A drawn person before a wall: shape (HEIGHT, WIDTH, 3), RGB."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    x = (x - WIDTH / 2) / HEIGHT - lean
    y = y / HEIGHT
    light = 1.08 - 0.28 * y - 0.10 * x
    picture = np.array(wall)[None, None, :] * light[..., None]

    def paint(shape: NDArray[np.float64], colour: Colour) -> None:
        """Where `shape` is below 1, with an edge a few pixels soft."""
        cover = np.clip((1.0 - shape) * 18, 0, 1)[..., None]
        picture[:] = picture * (1 - cover) + np.array(colour)[None, None, :] * light[..., None] * cover

    def oval(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float64]:
        return np.asarray(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)

    if long_hair:
        paint(oval(0, 0.37, 0.205, 0.27), hair)
    else:
        paint(oval(0, 0.30, 0.18, 0.16), hair)
    paint(oval(0, 1.12, 0.50, 0.42), clothes)
    paint(oval(0, 0.66, 0.085, 0.15), (200, 156, 130))
    paint(oval(0, 0.42, 0.16, 0.225), SKIN)
    paint(oval(0, 0.235, 0.175, 0.105), hair)
    for side in (-1, 1):
        paint(oval(side * 0.062, 0.405, 0.014, 0.017), (52, 44, 44))
        paint(oval(side * 0.062, 0.36, 0.032, 0.008), hair)
    smile = np.where(y > 0.52 - 0.6 * x**2, oval(0, 0.515, 0.06, 0.022), 2.0)
    paint(smile, (176, 84, 84))
    return np.clip(picture, 0, 255).astype(np.uint8)


def film(path: Path, picture: NDArray[np.uint8]) -> Path:
    """A Y4M of one picture with a little noise, as cameras have."""
    rgb = picture.astype(np.float64)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    noise = np.random.default_rng(1)
    with path.open("wb") as target:
        target.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F15:1 Ip A1:1 C420jpeg\n".encode())
        for _ in range(15):
            target.write(b"FRAME\n")
            target.write(np.clip(luma + noise.normal(0, 1.2, luma.shape), 0, 255).astype(np.uint8).tobytes())
            for chroma in (u, v):
                target.write(chroma.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(1, 3)).astype(np.uint8).tobytes())
    return path


async def take(output: Path) -> None:
    """A visit of three, as its doctor sees it while an interpreter waits outside."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        async with (
            Server(scratch / "server") as server,
            Portal(server.http, await create_key(server)) as portal,
            async_playwright() as driver,
            Browsers(driver, scratch, scratch) as browsers,
        ):
            people = await portal.book(
                [about for about, _ in PEOPLE],
                care_unit={"name": "Ekbackens vårdcentral"},
                title="Återbesök",
                language="en",
                **NO_DOCUMENTS,
            )
            pages = [
                await browsers.chromium(
                    one.name,
                    picture=film(scratch / f"{index}.y4m", person(wall, hair, CLOTHES[index], lean, long_hair)),
                    width=1360,
                    height=800,
                )
                for index, (one, (_, (wall, hair, lean, long_hair))) in enumerate(zip(people, PEOPLE, strict=True))
            ]
            host = pages[0]
            await arrive(host, await portal.vouched_url(people[0]), into="admitted")
            for page, one in zip(pages[1:], people[1:], strict=True):
                await arrive(page, one.join_url)
            for one in people[1:3]:
                await admit(host, one)
            await meets(host, people[1], people[2])
            # Until the larger layer has come: a picture of blurred faces would say the wrong thing.
            await host.wait(
                lambda: host.evaluate(
                    "[...document.querySelectorAll('[data-testid=tile] video')].every((v) => v.videoHeight >= 360)"
                ),
                "large pictures",
                deadline=20,
            )
            await host.wait_for("queue-entry")

            async def quiet() -> bool:
                return not await host.shows("notice")

            await host.wait(quiet, "what was told once is gone", deadline=20)
            output.parent.mkdir(parents=True, exist_ok=True)
            await host.tab.screenshot(output)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
