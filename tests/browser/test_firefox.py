"""Firefox as one of the three: it sees and hears Chromium, and Chromium it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from vardrum.bench.network.namespaces import CLINIC, Namespace, Network
from vardrum.tests.conftest import Browsers
from vardrum.tests.support.page import Page
from vardrum.tests.support.portal import Portal, create_key
from vardrum.tests.support.server import Server
from vardrum.tests.support.stats import at_least_once, measured, start_measuring
from vardrum.tests.support.visit import DOCTOR, NO_DOCUMENTS, PATIENT, RELATIVE, admit, arrive, meets

SECONDS = 10.0

Seen = tuple[Page, dict[str, dict[str, Mapping[str, Any]]]]


@pytest.mark.timeout(180)
async def test_firefox_takes_part(
    tmp_path: Path, network: Network, browsers: Browsers, figure: Callable[[str], None]
) -> None:
    # Firefox never sends from another address to a loopback one, so media needs an address of its own here.
    clinic = network.clinic
    async with Server(tmp_path / "server", media_ip=CLINIC, prefix=clinic.prefix) as server:
        relay = await clinic.relay(server.host, server.http_port)
        async with Portal(server.http, await create_key(server), relay=relay) as portal:
            await visit(portal, browsers, clinic, figure)


async def visit(portal: Portal, browsers: Browsers, clinic: Namespace, figure: Callable[[str], None]) -> None:
    """Doctor and relative in Chromium, the patient in Firefox."""
    doctor, patient, relative = await portal.book([DOCTOR, PATIENT, RELATIVE], **NO_DOCUMENTS)
    host = await browsers.chromium(DOCTOR["display_name"], prefix=clinic.prefix, width=1280)
    second = await browsers.chromium(RELATIVE["display_name"], prefix=clinic.prefix)
    firefox = await browsers.firefox(PATIENT["display_name"], namespace=clinic)
    await arrive(host, await portal.vouched_url(doctor), into="admitted")
    await asyncio.gather(arrive(firefox, patient.join_url), arrive(second, relative.join_url))
    await admit(host, patient)
    await admit(host, relative)
    seen = [
        (host, await meets(host, patient, relative)),
        (firefox, await meets(firefox, doctor, relative)),
        (second, await meets(second, doctor, patient)),
    ]
    # Three browsers fill a small machine. In small windows Chromium draws less, and Firefox sends only small pictures.
    for page in (host, second):
        await page.tab.resize(320, 480)
    names = {one.id: one.name for one in (doctor, patient, relative)}
    await at_least_once(lambda: watch(seen, names, figure))
    for page, _ in seen:
        assert await page.evaluate("recorder.errors") == [], page.name


async def watch(seen: list[Seen], names: dict[str, str], figure: Callable[[str], None]) -> list[str]:
    """What isn't as it should be for some seconds; what never may be is asserted."""
    problems = []
    for page, _ in seen:
        await start_measuring(page)
    results = await asyncio.gather(*(measured(page, SECONDS) for page, _ in seen))
    for (page, slots), result in zip(seen, results, strict=True):
        for participant, slot in slots.items():
            rate, stall = result.rate(slot["camera"]["mid"]), result.longest_stall(slot["camera"]["mid"])
            figure(f"{page.name} decodes {rate:.1f} fps of {names[participant]}, longest stall {stall:.2f} s")
            if rate < 10 or stall >= 1:
                problems.append(f"{page.name} sees {names[participant]} with {rate:.1f} fps, stall {stall:.2f} s")
        concealed = result.concealed([slot["microphone"]["mid"] for slot in slots.values()])
        figure(f"{page.name}: {100 * concealed:.2f} % concealed sound")
        if concealed >= 0.02:
            problems.append(f"{page.name}: {100 * concealed:.2f} % concealed sound")
        for slot in slots.values():
            assert result.rate(slot["microphone"]["mid"], "energy") > 0
    return problems
