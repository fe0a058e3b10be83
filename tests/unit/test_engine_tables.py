"""The engine's tables as Python sees them: named columns, the engine's own memory, and safe to hold on to."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator

import numpy as np
import pytest
from vardrum.sfu.dtls import Keys
from vardrum.sfu.engine import Credentials, Downlink, Engine, Slot, Uplink
from vardrum.sfu.types import OfferedTrack, Payload, PeerOffer
from vardrum.tests.support.wait import wait_until

KEYS = Keys(7, b"k" * 16, b"s" * 12, b"K" * 16, b"S" * 12)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    started = Engine("127.0.0.1", 0, lambda event: None)
    try:
        yield started
    finally:
        started.stop()


def join(engine: Engine, peer: int) -> None:
    track = OfferedTrack(mid=str(peer), rids=(), ssrcs=())
    offer = PeerOffer(
        ufrag=f"peer{peer}",
        pwd="p" * 22,
        fingerprints=(),
        payloads=(Payload(96, "vp8"), Payload(97, "rtx", apt=96)),
        extensions={},
        microphone=track,
        camera=track,
        screen=track,
        audio_slots=("1",),
        video_slots=("2",),
    )
    slots = [Slot(False, "1", peer * 10 + 1, None), Slot(True, "2", peer * 10 + 2, peer * 10 + 3)]
    engine.add_peer(peer, Credentials(f"engine{peer}", "e" * 22), offer, slots)


async def test_whoever_has_keys_has_a_row_of_named_columns(engine: Engine) -> None:
    join(engine, 5)
    join(engine, 6)
    engine.set_keys(5, KEYS)
    engine.probe(5, 7, 300_000, 20)
    engine.set_target(5, 450_000)
    await wait_until(lambda: len(engine.downlinks()), deadline=5, what="a row")
    rows = engine.downlinks()
    assert rows.shape == (1, len(Downlink))
    row = rows[0]
    assert row[Downlink.PEER] == 5
    assert row[Downlink.SENT_PACKETS] == row[Downlink.ACKED_BYTES] == row[Downlink.LOST_PACKETS] == 0
    assert row[Downlink.ROUND_TRIP_US] == 100_000
    assert row[Downlink.PROBE_ID] == 7
    assert row[Downlink.TARGET_BPS] == 450_000
    assert row[Downlink.HELD_PACKETS] == 0
    assert row[Downlink.PROBE_RATE_BPS] == 0
    assert np.isnan(row[[Downlink.SOUND_LOSS, Downlink.PICTURE_LOSS, Downlink.FEEDBACK_AGE_US]]).all()
    assert engine.uplinks().shape == (0, len(Uplink))


async def test_a_table_is_the_engines_own_memory_and_can_not_be_written(engine: Engine) -> None:
    join(engine, 5)
    engine.set_keys(5, KEYS)
    await wait_until(lambda: len(engine.downlinks()), deadline=5, what="a row")
    seen = set()

    def three_buffers() -> bool:
        view = engine.downlinks()
        assert not view.flags.owndata
        seen.add(view.ctypes.data)
        return len(seen) == 3

    await wait_until(three_buffers, deadline=5, what="all three buffers", every=0.01)
    with pytest.raises(ValueError, match="read-only"):
        engine.downlinks()[0, 0] = 1


async def test_a_view_can_be_held_longer_than_the_engine_lives() -> None:
    engine = Engine("127.0.0.1", 0, lambda event: None)
    join(engine, 5)
    engine.set_keys(5, KEYS)
    await wait_until(lambda: len(engine.downlinks()), deadline=5, what="a row")
    view = engine.downlinks()
    engine.stop()
    engine.__dict__.clear()
    gc.collect()
    assert view[0, Downlink.PEER] == 5
