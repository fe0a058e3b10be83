"""What layers take on the wire, and what is lost on the way to us, from the engine's table of uplinks."""

from __future__ import annotations

import math

import numpy as np
from vardrum.sfu.engine import CAMERA, Uplink
from vardrum.sfu.rates import PACKET_OVERHEAD, LayerRates
from vardrum.sfu.uplinks import SendersQueues, UplinkLosses


def row(
    peer: int, layer: int, packets: float, size: float, *, lost: float = 0, alive: bool = True, frames: float = 0
) -> list[float]:
    values = dict.fromkeys(Uplink, 0.0)
    values |= {
        Uplink.PEER: peer,
        Uplink.TRACK: CAMERA,
        Uplink.LAYER: layer,
        Uplink.ALIVE: float(alive),
        Uplink.PACKETS: packets,
        Uplink.BYTES: size,
        Uplink.LOST: lost,
        Uplink.FRAMES: frames,
        Uplink.ROUND_TRIP_US: 50_000,
    }
    return [values[column] for column in Uplink]


def table(*rows: list[float]) -> np.ndarray:
    return np.array(rows).reshape(-1, len(Uplink))


def test_a_rate_is_known_after_a_second_and_follows_within_a_few() -> None:
    rates = LayerRates()
    key = (7, CAMERA, 0)
    packets = size = 0.0
    for tick in range(300):
        now = tick / 10
        a_tick = 2.0 if now < 10 else 1.0
        packets, size = packets + a_tick, size + a_tick * 900
        rates.update(now, table(row(7, 0, packets, size)))
        if now < 0.9:
            assert rates.on_wire(key, now) is None
        if now == 9.9:
            on_wire = rates.on_wire(key, now)
            assert on_wire is not None
            assert math.isclose(on_wire, 20 * (900 + PACKET_OVERHEAD) * 8, rel_tol=0.02)
    assert math.isclose(rates.of_track(7, CAMERA)[0], 10 * 900 * 8, rel_tol=0.05)


def test_a_layer_that_has_gone_is_unknown_again() -> None:
    rates = LayerRates()
    for tick in range(20):
        rates.update(tick / 10, table(row(7, 0, tick, tick * 900)))
    assert rates.on_wire((7, CAMERA, 0), 1.9) is not None
    rates.update(2.0, table(row(7, 0, 20, 18_000, alive=False)))
    assert rates.on_wire((7, CAMERA, 0), 2.0) is None
    rates.update(2.1, table())
    assert rates.of_track(7, CAMERA) == {}


def test_a_peers_loss_is_that_of_all_it_sends_over_the_last_seconds() -> None:
    losses = UplinkLosses()
    packets = lost = 0.0
    for tick in range(40):
        packets, lost = packets + 9, lost + (1 if tick >= 20 else 0)
        losses.update(tick / 2, table(row(7, 0, packets, 0, lost=lost), row(7, 1, packets, 0, lost=lost)))
        if tick < 2:
            assert math.isnan(losses.loss[7]), "too few to say"
        if tick == 19:
            assert losses.loss[7] == 0
    assert math.isclose(losses.loss[7], 0.1, rel_tol=0.05)
    assert losses.round_trip[7] == 0.05
    losses.update(20.5, table())
    assert losses.loss == {}


def test_pictures_that_trickle_out_of_their_senders_queue_are_stuck_and_a_camera_that_stops_is_not() -> None:
    queues = SendersQueues()
    seen = []
    for tick in range(30):
        # After a second both begin no more pictures; of 7's packets still come, one in two ticks.
        frames = 2 * min(tick, 10)
        packets = 3 * frames + (tick // 2 if tick > 10 else 5)
        rows = row(7, 1, packets, 0, frames=frames), row(8, 1, 60, 0, frames=frames)
        if newly := queues.update(tick / 10, table(*rows)):
            seen.append((tick, newly))
    ((tick, newly),) = seen
    assert newly == {7}
    assert 15 <= tick <= 18
    assert queues.update(3.0, table(row(7, 1, 100, 0, frames=21))) == set()
    assert queues.stuck == set()


def test_a_large_picture_and_what_its_coder_then_leaves_out_are_not_stuck() -> None:
    queues = SendersQueues()
    # 42 packets of one picture in 0.4 s, as libvpx makes them behind a key frame, and then none for a second.
    for tick in range(30):
        packets = 30 + 10 * min(tick, 4)
        frames = 20 + max(0, tick - 14)
        assert queues.update(tick / 10, table(row(7, 1, packets, 1_130 * packets, frames=frames))) == set()
    assert queues.stuck == set()
