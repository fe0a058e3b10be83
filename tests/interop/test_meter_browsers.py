"""What browsers tell of their downlink is measured, and padding is acknowledged."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from vardrum.sfu.engine import Downlink, Engine, Uplink
from vardrum.sfu.node import Node
from vardrum.sfu.types import MediaSettings, Offer, Person, Wish
from vardrum.tests.support.page import Page
from vardrum.tests.support.wait import wait_until

SCRIPT = Path(__file__).parent / "offer.js"
SENDER, VIEWER = "sender", "viewer"
# Padding alone can't be split finer than its packets, and browsers stamp arrivals in quarters of a millisecond.
NEAR = 0.2


def own_address() -> str:
    """An address of this machine other than loopback, which Firefox never sends to from another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


class Silent:
    """A listener that has nobody to tell."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


async def join(node: Node, page: Page, blank: str, name: str) -> None:
    await page.tab.goto(blank)
    await page.tab.evaluate(f"(() => {{ {SCRIPT.read_text(encoding='utf-8')} }})()")
    wanted = {"audio": 1, "video": 2, "layers": True, "tracks": True}
    offer = await page.tab.evaluate(f"vardrumOffer({json.dumps(wanted)})")
    answer = await node.join("room", name, Offer(1, offer))
    await page.tab.evaluate(f"vardrumAnswer({json.dumps(answer)})")


async def measured(engine: Engine, what: str, is_so: Callable[[NDArray[np.float64]], Any]) -> NDArray[np.float64]:
    """The row of the second peer, the viewer, once it is so."""

    def row() -> NDArray[np.float64] | None:
        rows = engine.downlinks()
        found = rows[rows[:, Downlink.PEER] == 2]
        if len(found) and is_so(found[0]):
            return np.array(found[0])
        assert not len(found), {column.name: found[0][column] for column in Downlink}
        return None

    async def until() -> bool:
        return row() is not None

    await wait_until(until, deadline=20, what=what)
    found = row()
    assert found is not None
    return found


async def probed(engine: Engine, bits_per_second: int, first: int) -> float:
    """Probes, numbered from `first` on, until one came through as fast as it was sent; kbit/s.

    On a busy machine a browser may not get to read its socket for as long as a probe takes: one is not enough.
    """
    for probe in range(first, first + 10):
        engine.probe(2, probe, bits_per_second, 100)

        def known(row: NDArray[np.float64], probe: int = probe) -> bool:
            return bool(row[Downlink.PROBE_ID] == probe and row[Downlink.PROBE_RATE_BPS] > 0)

        row = await measured(engine, "a result", known)
        found = float(row[Downlink.PROBE_RATE_BPS])
        if found == pytest.approx(bits_per_second, rel=NEAR):
            return found / 1e3
    raise AssertionError(f"the last of ten probes at {bits_per_second} bit/s came through at {found:.0f}")


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_browsers_downlink_is_measured(
    browsers: Any, blank: str, browser: str, figure: Callable[[str], None]
) -> None:
    ip = own_address() if browser == "firefox" else "127.0.0.1"
    async with Node(MediaSettings(ip=ip, port=0), Silent()) as node:
        node.people("room", [Person(SENDER, "admitted", host=True), Person(VIEWER, "admitted")], 2)
        await join(node, await browsers.chromium(SENDER), blank, SENDER)
        viewer = await getattr(browsers, browser)(VIEWER)
        await join(node, viewer, blank, VIEWER)
        (shard,) = node._running
        engine = shard.engine

        # Before any picture: only padding, on an RTX stream that carries nothing else.
        await measured(engine, "sound is acknowledged", lambda row: row[Downlink.SOUND_ACKED] > 50)
        figure(f"{browser}: padding at 400 kbit/s came through at {await probed(engine, 400_000, 1):.0f}")

        node.wishes("room", VIEWER, [Wish(SENDER, "camera", 360)], None)
        row = await measured(
            engine, "pictures", lambda row: row[Downlink.ACKED_PACKETS] > row[Downlink.SOUND_ACKED] + 200
        )
        assert row[Downlink.LOST_PACKETS] == 0
        assert row[Downlink.ACKED_RATE_BPS] > 100_000
        assert row[Downlink.ROUND_TRIP_US] < 100_000
        assert row[Downlink.QUEUE_DELAY_US] < 50_000
        assert row[Downlink.FEEDBACK_AGE_US] < 1_000_000
        await measured(
            engine, "reports on both", lambda row: row[Downlink.SOUND_LOSS] == row[Downlink.PICTURE_LOSS] == 0
        )
        camera = engine.uplinks()
        camera = camera[(camera[:, Uplink.TRACK] == 1) & (camera[:, Uplink.LAYER] == 1)][0]
        assert camera[Uplink.FRAMES] > 10
        assert camera[Uplink.KEY_FRAMES] >= 1

        figure(
            f"{browser}: pictures and padding at 1500 kbit/s came through at {await probed(engine, 1_500_000, 100):.0f}"
        )
