"""Whatever is shown in a slot, its viewer's decoder gets whole pictures, each exactly as its publisher's would.

Random switches between two publishers, two sizes and all temporal layers, through the real engine; the seed is printed.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import pytest
from vardrum.sfu.engine import Engine
from vardrum.tests.support import streams
from vardrum.tests.support.layers import ALL, House, judge

SWITCHES = 200
# A key frame comes each GROUP pictures; the engine may take a moment to hear of a command.
PATIENCE = 4 * streams.GROUP


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    running = Engine("127.0.0.1", 0, lambda event: None)
    yield running
    running.stop()


@pytest.mark.parametrize("codec", list(streams.KINDS))
async def test_every_picture_is_whole_over_200_switches(
    engine: Engine, codec: str, figure: Callable[[str], None]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    house = House(engine, codec, seed)
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
    finally:
        house.close()
    verdict = judge(house)
    figure(
        f"{codec}: {verdict.pictures} pictures decoded exactly as sent over {SWITCHES} commands, {verdict.switches}"
        f" changes of source, {verdict.dropped} pictures of temporal layers left out, {verdict.cut} cut off by"
        f" switches; seed {seed}"
    )
    assert verdict.problems == [], f"seed {seed}"
    assert house.missing == [], "sequence numbers have no gap"
    assert (house.padding, verdict.waited) == (0, 0)
    assert verdict.switches > SWITCHES // 2
    if len(streams.KINDS[codec].layers) > 1:
        assert verdict.dropped > SWITCHES // 4


def _go_on(house: House) -> None:
    house.instant()
    house.settle()


def _until_shown(house: House, person: int) -> None:
    """Sends pictures until the newest that came is of `person`."""
    sender = house.senders[person]
    for _ in range(PATIENCE):
        _go_on(house)
        if house.newest is not None and house.is_of(house.received[house.newest], sender):
            return
    raise AssertionError(f"person {person} did not come")
