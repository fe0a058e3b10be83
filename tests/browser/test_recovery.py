"""A lost network and a killed server: people hear each other again by themselves, without a tap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from vardrum.bench.network.namespaces import CLINIC, Network
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.sound import longest_gap, moment, silent, sound_back
from vardrum.tests.support.visit import gather_visit, shown, state
from vardrum.tests.support.wait import wait_until

OUTAGE = 45.0


@pytest.mark.timeout(240)
async def test_after_45_s_without_a_network_sound_is_back_without_a_tap(
    tmp_path: Path, browsers: Browsers, network: Network, figure: Callable[[str], None]
) -> None:
    clinic, phone = network.clinic, network.phone
    async with Server(tmp_path / "server", host=CLINIC, prefix=clinic.prefix) as server:
        relay = await clinic.relay(CLINIC, server.http_port)
        async with Portal(server.http, await create_key(server), relay=relay) as portal:
            trusted = (server.http,)
            host = await browsers.chromium("Dr Asp", prefix=clinic.prefix, trusted=trusted, width=1280)
            away = await browsers.chromium("Pia Patient", prefix=phone.prefix, trusted=trusted, voice="sv")
            near = await browsers.chromium("Rut Relative", prefix=clinic.prefix, trusted=trusted)
            # Firefox gives up at another time and in another way, so it is away too.
            firefox = await browsers.firefox("Ivo Interpreter", namespace=phone)
            _, _, relative, _ = await gather_visit(portal, host, away, near, firefox)
            pages = (host, away, near, firefox)

            await network.cut()
            cut_here, cut_there = await moment(away), await moment(host)
            await asyncio.gather(*(silent(page, for_ms=1000, deadline=10) for page in (away, firefox)))
            # The wait is the test: after 23 s (Chromium) and 35 s (Firefox) ICE has failed for good.
            await wait_until(
                lambda: away.evaluate(f"performance.now() - {cut_here} > {OUTAGE * 1000}"),
                deadline=OUTAGE + 10,
                what="the end of the outage",
                every=0.5,
            )
            undisturbed = await longest_gap(host, (await shown(host))[relative.id]["microphone"]["mid"], cut_there)
            since = [await moment(page) for page in pages]
            await network.mend()
            took = await asyncio.gather(
                *(sound_back(page, at, voices=3, deadline=40) for page, at in zip(pages, since, strict=True))
            )
            there = max(took[0], took[2])
            figure(f"outage of 45 s: all voices are back after {took[1]:.1f} s in Chromium, {took[3]:.1f} s in Firefox")
            figure(f"those who never lost the network hear the others again after {there:.1f} s")
            assert [await state(page) for page in pages] == ["admitted"] * 4
            assert max(took) < 15
            figure(f"those who stayed heard each other all the time: longest gap {undisturbed:.1f} s")
            assert undisturbed < 2, "silence between words is at most as long"


@pytest.mark.timeout(180)
async def test_after_kill_and_restart_everyone_hears_everyone_without_a_tap(
    server: Server, portal: Portal, browsers: Browsers, figure: Callable[[str], None]
) -> None:
    host = await browsers.chromium("Dr Asp", width=1280)
    first = await browsers.chromium("Pia Patient", voice="sv")
    second = await browsers.chromium("Rut Relative")
    pages = (host, first, second)
    await gather_visit(portal, host, first, second)

    killed = [await moment(page) for page in pages]
    await server.kill()
    await asyncio.gather(*(silent(page, for_ms=500, deadline=10) for page in pages))
    await server.start()
    ready = [await moment(page) for page in pages]
    took = await asyncio.gather(
        *(sound_back(page, at, voices=2, deadline=30) for page, at in zip(pages, ready, strict=True))
    )
    whole = max(one + (at - before) / 1000 for one, at, before in zip(took, ready, killed, strict=True))
    figure(
        "kill -9 and restart: everyone hears everyone "
        f"{max(took):.1f} s after the server is ready again, {whole:.1f} s after the kill"
    )
    assert [await state(page) for page in pages] == ["admitted"] * 3
    assert max(took) < 10
    for page in pages:
        # Without a tap: nobody was asked for anything, and nobody had to wait outside again.
        states = await page.evaluate("recorder.received.map((m) => m.type)")
        assert "held" not in states
        assert "waiting" not in states[states.index("admitted") :], states
