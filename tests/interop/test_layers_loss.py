"""What is lost or late on either side of the engine is repaired by NACK and RTX, also around switches.

`LOSS_SEED=n` begins as the run that printed it did; the engine's clock is real, so that it need not go on alike.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable

import pytest
from vardrum.sfu.engine import Engine
from vardrum.tests.support import streams
from vardrum.tests.support.layers import ALL, House, judge

SWITCHES, LOSS = 60, 0.05
# A picture each so many seconds: faster than people's, and slow enough for repairs to come in between.
PACE = 0.012
PATIENCE = 6 * streams.GROUP
DEADLINE = 8.0


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    running = Engine("127.0.0.1", 0, lambda event: None)
    yield running
    running.stop()


@pytest.mark.parametrize("codec", list(streams.KINDS))
async def test_every_picture_is_whole_though_packets_are_lost_and_late(
    engine: Engine, codec: str, figure: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("LOSS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"LOSS_SEED={seed}")
    house = House(engine, codec, seed, LOSS)
    try:
        wanted = 0
        house.show(wanted, ALL)
        for _ in range(SWITCHES):
            _until_shown(house, wanted)
            for _ in range(house.chance.randrange(1, 5)):
                _go_on(house)
            wanted, temporal = house.chance.randrange(4), house.chance.choice((0, 1, 2, ALL))
            house.show(wanted, temporal)
        _until_shown(house, wanted)
        house.until_whole(DEADLINE)
    finally:
        house.close()
    verdict = judge(house)
    figure(
        f"{codec}, {LOSS:.0%} lost each way: {verdict.pictures} pictures decoded exactly as sent, {verdict.switches}"
        f" changes of source, {house.repaired} packets repaired, {house.padding} filled with padding, {verdict.dropped}"
        f" pictures of temporal layers left out, {verdict.cut} cut off by switches and {verdict.waited} behind them;"
        f" seed {seed}"
    )
    assert verdict.problems == [], f"seed {seed}"
    assert house.missing == [], "every number has come"
    assert house.repaired > 0
    assert verdict.waited < verdict.pictures // 5


def _go_on(house: House) -> None:
    house.instant()
    house.live(PACE)


def _until_shown(house: House, person: int) -> None:
    """Sends pictures until one of `person` has just come."""
    sender = house.senders[person]
    for _ in range(PATIENCE):
        _go_on(house)
        if house.newest in house.received and house.is_of(house.received[house.newest], sender):
            return
    raise AssertionError(f"person {person} did not come")
