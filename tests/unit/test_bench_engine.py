"""The engine's benchmark: what it makes of measurements, and that it runs and writes the contract's report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vardrum.bench import engine
from vardrum.bench.engine import LOADS, SERVERS, Load, Outcome, Server

FULL = Load(2, 1100, "gcm", None)
RATE = Load(9, 120, "sha1", 25_000)


def slice_of(server: str, gso: bool, cpu_ns: int, *, wall_ns: int = 10**6) -> str:
    measured = {"cpu_ns": cpu_ns, "forwarded": 100, "wall_ns": wall_ns, "wakes": 10}
    return json.dumps({"server": server, "gso": gso, **measured})


def slices(engine_off: int, bare_off: int, engine_on: int, bare_on: int, *, wall_ns: int = 10**6) -> list[str]:
    each = {("engine", False): engine_off, ("bare", False): bare_off, ("engine", True): engine_on}
    each["bare", True] = bare_on
    return [slice_of(*server, cpu_ns, wall_ns=wall_ns) for server, cpu_ns in each.items()]


def ends(*, owed: int = 300, forwarded: int = 300, received: int = 300) -> list[str]:
    """What each server says at the end; the figures are those of the engine without GSO."""
    counts = {"owed": owed, "forwarded": forwarded, "received": received}
    whole = {"owed": 300, "forwarded": 300, "received": 300}
    first = Server("engine", False)
    return [
        json.dumps({"server": server.name, "gso": server.gso, **(counts if server == first else whole), "drops": {}})
        for server in SERVERS
    ]


def outcome_of(*lines: list[str]) -> Outcome:
    outcome = Outcome()
    for some in lines:
        outcome.take(some)
    return outcome


def test_all_that_the_issue_names_is_measured() -> None:
    full = {(load.fan_out, load.size, load.srtp) for load in LOADS if load.rate is None}
    assert full == {(f, size, srtp) for f in (1, 2, 5, 9) for size in (120, 1100) for srtp in ("gcm", "sha1")}


def test_a_ratio_is_the_median_over_neighbours_not_of_medians() -> None:
    # The machine slows down by and by: each pair says 1.2 and, with GSO, 0.8, while the order differs.
    outcome = outcome_of(
        slices(120_000, 100_000, 80_000, 60_000),
        list(reversed(slices(240_000, 200_000, 160_000, 120_000))),
        slices(360_000, 300_000, 240_000, 180_000),
        ends(),
    )
    report = engine.report({FULL: outcome})
    assert report.ratios == {FULL.case(False): 1.2, FULL.case(True): 0.8}
    assert report.figures == {
        f"server=engine {FULL.case(False)}": 2400.0,
        f"server=bare {FULL.case(False)}": 2000.0,
        f"server=engine {FULL.case(True)}": 1600.0,
        f"server=bare {FULL.case(True)}": 1200.0,
    }
    assert report.missed == []


@pytest.mark.parametrize(
    ("load", "engine_off", "engine_on", "missed"),
    [
        (FULL, 140, 100, []),
        (FULL, 141, 100, [FULL.case(False)]),
        (FULL, 140, 101, [FULL.case(True)]),
        (Load(9, 1100, "sha1", None), 126, 99, [Load(9, 1100, "sha1", None).case(False)]),
        (Load(9, 120, "gcm", None), 125, 125, []),  # single packets of sound: nothing is asked of GSO
        (Load(5, 1100, "gcm", None), 200, 200, []),  # the issue says nothing of five
    ],
)
def test_what_costs_more_than_it_may_is_missed(load: Load, engine_off: int, engine_on: int, missed: list[str]) -> None:
    outcome = outcome_of(slices(engine_off * 1000, 100_000, engine_on * 1000, 50_000), ends())
    assert engine.report({load: outcome}).missed == missed
    assert engine.report({load: outcome}, judged=False).missed == []


@pytest.mark.parametrize(("wall_ns", "missed"), [(400_000, [RATE.case(False)]), (401_000, [])])
def test_under_a_given_load_the_bound_is_for_a_core_that_is_half_busy(wall_ns: int, missed: list[str]) -> None:
    outcome = outcome_of(slices(200_000, 100_000, 200_000, 100_000, wall_ns=wall_ns), ends())
    assert engine.report({RATE: outcome}).missed == missed


@pytest.mark.parametrize("lost", [{"forwarded": 299, "received": 299}, {"received": 299}])
def test_a_lost_packet_makes_the_case_missed(lost: dict[str, int]) -> None:
    outcome = outcome_of(slices(100_000, 100_000, 50_000, 50_000), ends(**lost))
    assert engine.report({FULL: outcome}, judged=False).missed == [FULL.case(False), FULL.case(True)]
    assert any("299" in line for line in engine.table({FULL: outcome}))


def test_the_benchmark_runs_and_its_report_has_the_contract_s_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOADS", (FULL, RATE))
    quick = ["--rounds", "1", "--slices", "1", "--seconds", "0", "--people", "6", "--profile", "dev"]
    status = engine.main([*quick, "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "engine.json").read_text())
    assert set(written) == {"machine", "commit", "figures", "ratios", "missed"}
    assert (written["missed"], status) == ([], 0), printed
    assert set(written["ratios"]) == {load.case(gso) for load in (FULL, RATE) for gso in (False, True)}
    assert set(written["figures"]) == {
        f"server={server.name} {load.case(server.gso)}" for load in (FULL, RATE) for server in SERVERS
    }
    assert all(number > 0 for number in [*written["figures"].values(), *written["ratios"].values()])
    assert (tmp_path / "engine.png").read_bytes().startswith(b"\x89PNG")
    assert RATE.case(True) in printed.splitlines()[-1], "figures come last"
