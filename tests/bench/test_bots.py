"""Visits of native bots on a real server: they meet, nothing is lost, nothing comes twice, pictures move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from vardrum.bench.bots import Crowd, Visit
from vardrum.bench.native_bots import Figures, Histogram, build
from vardrum.bench.portal import Portal
from vardrum.bench.serving import Serving, socket_drops


@pytest.fixture(scope="module")
def program() -> Path:
    return build()


@pytest.fixture
async def crowd(program: Path) -> AsyncIterator[Crowd]:
    crowd = Crowd()
    for native in crowd.natives:
        await native.start(program)
    yield crowd
    for native in crowd.natives:
        await native.stop()


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with Serving(tmp_path / "data") as serving:
        yield serving


async def heard(crowd: Crowd, pictures: int) -> Figures:
    """The figures, once so many pictures have come."""
    native = crowd.natives[0]
    for _ in range(30):
        figures = await native.next_figures()
        if figures.counts["pictures"] >= pictures:
            return figures
    raise AssertionError(f"only {figures.counts['pictures']} pictures came: {crowd.lost} {native.problems}")


def left_out(said: dict[int, dict[str, Any]]) -> int:
    """Packets of all publishers that were not forwarded to somebody."""
    return sum(int(ear["skipped"]) for bot in said.values() for ear in bot["ears"])


async def test_two_visits_meet_and_lose_nothing(crowd: Crowd, serving: Serving) -> None:
    async with Portal(serving.http, serving.key) as portal:
        visits = [await Visit.begin(crowd, portal) for _ in range(2)]
        # Until the server knows what each network carries, pictures may wait for it.
        early = await heard(crowd, 500)
        before = left_out(await crowd.natives[0].ask())
        figures = await heard(crowd, early.counts["pictures"] + 500)
        counts = figures.counts
        assert counts["bots"] == counts["connected"] == 6
        assert (counts["lost"], counts["duplicates"], counts["strange"], counts["refused"]) == (0, 0, 0, 0)
        assert socket_drops(serving.media_ports) == 0
        # A whole second of everybody's sound and pictures has been timed.
        assert figures.histograms["sound_delay"].total > 300
        assert figures.histograms["picture_delay"].total > 300
        said = await crowd.natives[0].ask()
        for bot in said.values():
            ears = [ear for ear in bot["ears"] if ear["received"]]
            assert len(ears) == 4, "two others, sound and picture"
            assert all(ear["lost"] == 0 for ear in ears)
        assert left_out(said) == before
        for visit in visits:
            await visit.close()
    assert not crowd.lost
    assert not crowd.natives[0].problems


async def test_a_visit_goes_on_after_restarts_and_another_port(crowd: Crowd, serving: Serving) -> None:
    async with Portal(serving.http, serving.key) as portal:
        visit = await Visit.begin(crowd, portal, layers=2)
        host, patient, _ = visit.bots
        await host.restart_ice()
        await host.until(lambda: "path" in host.times, "answer to a check after the restart")
        patient.rebind(quiet=False)
        await patient.until(lambda: "path" in patient.times, "answer to a check from another port")
        await patient.join()
        await patient.until(lambda: patient.sees(2), "pictures after a new connection")
        before = crowd.natives[0].figures.counts["pictures"]
        await heard(crowd, before + 100)
        await visit.close()
    assert not crowd.lost
    assert not crowd.natives[0].problems


def test_percentiles_are_at_most_three_percent_off() -> None:
    histogram = Histogram()
    histogram.add([(63, 1), (64, 1), (895, 98)])
    assert histogram.percentile(0.01) == 64
    assert histogram.percentile(0.02) == 66
    assert histogram.percentile(0.99) == 64 << 26
