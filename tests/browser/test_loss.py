"""A tenth of all packets lost, up and down: pictures go on, and next to no sound is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from vardrum.bench.network.link import Conditions
from vardrum.bench.network.namespaces import CLINIC, Network
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Invited, Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.stats import Measured, at_least_once, measured, start_measuring
from vardrum.tests.support.visit import gather_visit, shown

LOSS = 0.10
CALM = Conditions(delay=0.025)  # one way
SEED = 20261122
# The repair is chosen by what was lost in the last seconds, so it needs some.
SETTLE, SECONDS = 8.0, 40.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("guest", ["chromium", "firefox"])
async def test_with_a_tenth_lost_up_and_down_pictures_go_on_and_sound_is_whole(
    guest: str, tmp_path: Path, browsers: Browsers, network: Network, figure: Callable[[str], None]
) -> None:
    clinic, phone = network.clinic, network.phone
    link = await network.link(CALM, CALM, seed=SEED)
    async with Server(tmp_path / "server", host=CLINIC, prefix=clinic.prefix) as server:
        relay = await clinic.relay(CLINIC, server.http_port)
        async with Portal(server.http, await create_key(server), relay=relay) as portal:
            # Both are behind the link: all that one has of the other was lost twice, on its way up and down.
            host = await browsers.chromium("Dr Asp", prefix=phone.prefix, trusted=(server.http,))
            if guest == "chromium":
                other = await browsers.chromium("Pia Patient", prefix=phone.prefix, trusted=(server.http,), voice="sv")
            else:
                other = await browsers.firefox("Pia Patient", namespace=phone)
            doctor, patient = await gather_visit(portal, host, other)
            pages = ((host, patient), (other, doctor))
            # Only now, so that what is measured is not how long pages take to load.
            await link.change(*[replace(CALM, loss=LOSS)] * 2)
            await asyncio.gather(*(start_measuring(page, every_ms=50) for page, _ in pages))
            await asyncio.gather(*(measured(page, SETTLE) for page, _ in pages))

            async def look() -> list[str]:
                await asyncio.gather(*(start_measuring(page, every_ms=50) for page, _ in pages))
                results = await asyncio.gather(*(measured(page, SECONDS) for page, _ in pages))
                return [
                    problem
                    for (page, seen), result in zip(pages, results, strict=True)
                    for problem in await judge(figure, page, result, seen)
                ]

            await at_least_once(look)


async def judge(figure: Callable[[str], None], page: Page, result: Measured, seen: Invited) -> list[str]:
    """What isn't as it should be; prints what there is to know besides."""
    slots = (await shown(page))[seen.id]
    camera, microphone = slots["camera"]["mid"], slots["microphone"]["mid"]
    stall, concealed = result.longest_stall(camera), result.concealed([microphone])
    lost = result.rate(microphone, "lost") / max(result.rate(microphone, "packets"), 1)
    figure(
        f"10 % lost up and down, 50 ms: {page.name} sees {seen.name} with {result.rate(camera):.1f} fps, longest stall"
        f" {stall:.2f} s, {result.rate(camera, 'keyFrames'):.2f} key frames/s, {100 * concealed:.2f} % concealed sound"
        f" ({100 * lost:.1f} % of its packets never came)"
    )
    problems = []
    if stall > 0.5:
        problems.append(f"{page.name} saw a picture stand still for {stall:.2f} s")
    if concealed >= 0.01:
        problems.append(f"{page.name}: {100 * concealed:.2f} % of the sound was made up")
    return problems
