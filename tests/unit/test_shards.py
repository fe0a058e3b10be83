"""Rooms are spread over shards by load."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from vardrum.sfu.engine import Engine, EngineError
from vardrum.sfu.shards import Load, Sample, Shards
from vardrum.sfu.types import MediaSettings


def used(load: Load, share: float, *, start: float, seconds: float, cpu: float = 0.0) -> float:
    """Measures each 100 ms that the thread used `share` of a core; returns its CPU seconds afterwards."""
    for step in range(1, round(seconds * 10) + 1):
        load.measure(start + step / 10, Sample(round((cpu + share * step / 10) * 1e9)))
    return cpu + share * seconds


def test_load_is_the_share_of_the_last_seconds() -> None:
    load = Load()
    cpu = used(load, 0.1, start=0.0, seconds=20)
    assert load.busy == pytest.approx(0.1)
    cpu = used(load, 0.5, start=20.0, seconds=1.5, cpu=cpu)
    assert load.busy == pytest.approx(0.3)
    used(load, 0.5, start=21.5, seconds=1.5, cpu=cpu)
    assert load.busy == pytest.approx(0.5)


def test_a_moment_is_no_load() -> None:
    load = Load()
    used(load, 1.0, start=0.0, seconds=0.9)
    assert load.busy == 0.0


def test_overload_ends_later_than_it_begins() -> None:
    load = Load()
    cpu = used(load, 0.84, start=0.0, seconds=10)
    assert not load.overloaded
    cpu = used(load, 0.9, start=10.0, seconds=5, cpu=cpu)
    assert load.overloaded
    cpu = used(load, 0.75, start=15.0, seconds=5, cpu=cpu)
    assert load.overloaded
    used(load, 0.6, start=20.0, seconds=5, cpu=cpu)
    assert not load.overloaded


def test_a_socket_that_overflows_is_overload_too() -> None:
    load = Load()
    load.measure(0.0, Sample(0))
    load.measure(1.0, Sample(0, 100_000, 100))
    assert not load.overloaded
    load.measure(2.0, Sample(0, 200_000, 1_000))
    assert load.overloaded
    load.measure(3.0, Sample(0, 300_000, 1_000))
    load.measure(6.0, Sample(0, 400_000, 1_000))
    assert not load.overloaded


def test_rooms_that_were_just_given_out_count_until_they_are_measured() -> None:
    load = Load()
    for _ in range(10):
        load.expect(0.0)
    assert load.soon == pytest.approx(0.1)
    load.measure(5.0, Sample(0))
    assert load.soon == 0.0


async def test_new_rooms_go_where_there_is_least_to_do() -> None:
    shards = Shards(MediaSettings(port=0, shards=3), lambda event: None)
    try:
        assert len({shard.engine.port for shard in shards}) == 3
        assert shards.least_busy() is shards[0]
        shards[0].peers = 2
        assert shards.least_busy() is shards[1]
        shards[1].load.busy = shards[2].load.busy = 0.5
        assert shards.least_busy() is shards[0]
        shards[0].load.overloaded = True
        assert shards.least_busy() is shards[1]
    finally:
        shards.stop()


async def test_a_dead_shard_is_reported_once_and_given_no_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Shards(MediaSettings(port=0, shards=2), lambda event: None)
    try:
        shards.measure(0.0)
        assert shards.dead == 0
        monkeypatch.setattr(Engine, "alive", property(lambda engine: engine is not shards[0].engine))
        with capture_logs() as logs:
            shards.measure(0.1)
            shards.measure(0.2)
        assert [(one["log_level"], one["shard"]) for one in logs] == [("error", 0)]
        assert shards.dead == 1
        assert shards.least_busy() is shards[1]
    finally:
        shards.stop()


async def test_ports_follow_each_other() -> None:
    with pytest.raises(EngineError, match="there are no 3 ports from there on"):
        Shards(MediaSettings(port=65534, shards=3), lambda event: None)
    # None is left running: the first can be bound again.
    shards = Shards(MediaSettings(port=65534), lambda event: None)
    shards.stop()
