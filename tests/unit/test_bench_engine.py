"""The engine's benchmark: what it makes of measurements, and that it runs and writes the contract's report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vardrum.bench import engine
from vardrum.bench.engine import CASES, Case, Outcome

CASE = Case(2, 1100, "gcm", None)


def slice_of(server: str, cpu_ns: int, forwarded: int = 100) -> str:
    return json.dumps({"server": server, "cpu_ns": cpu_ns, "forwarded": forwarded, "wall_ns": 10**6, "wakes": 10})


def end_of(server: str, *, owed: int = 300, forwarded: int = 300, received: int = 300) -> str:
    return json.dumps({"server": server, "owed": owed, "forwarded": forwarded, "received": received, "drops": {}})


def test_a_ratio_is_the_median_over_neighbours_not_of_medians() -> None:
    outcome = Outcome()
    # The machine slows down by and by: each pair says 1.5, while its order differs.
    outcome.take([slice_of("engine", 150_000), slice_of("bare", 100_000)])
    outcome.take([slice_of("bare", 200_000), slice_of("engine", 300_000)])
    outcome.take([slice_of("engine", 450_000), slice_of("bare", 300_000), end_of("engine"), end_of("bare")])
    report = engine.report({CASE: outcome})
    assert report.ratios == {str(CASE): 1.5}
    assert report.figures == {f"server=engine {CASE}": 3000.0, f"server=bare {CASE}": 2000.0}
    assert report.missed == []


@pytest.mark.parametrize("lost", [{"forwarded": 299, "received": 299}, {"received": 299}])
def test_a_lost_packet_makes_the_case_missed(lost: dict[str, int]) -> None:
    outcome = Outcome()
    outcome.take([slice_of("engine", 150_000), slice_of("bare", 100_000), end_of("engine", **lost), end_of("bare")])
    assert engine.report({CASE: outcome}).missed == [str(CASE)]
    assert any("299" in line for line in engine.table({CASE: outcome}))


def test_the_benchmark_runs_and_its_report_has_the_contract_s_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--rounds", "1", "--slices", "1", "--seconds", "0", "--people", "6", "--profile", "dev"]
    status = engine.main([*quick, "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "engine.json").read_text())
    assert set(written) == {"machine", "commit", "figures", "ratios", "missed"}
    assert (written["missed"], status) == ([], 0), printed
    assert set(written["ratios"]) == {str(case) for case in CASES}
    assert set(written["figures"]) == {f"server={server} {case}" for case in CASES for server in ("engine", "bare")}
    assert all(number > 0 for number in [*written["figures"].values(), *written["ratios"].values()])
    assert (tmp_path / "engine.png").read_bytes().startswith(b"\x89PNG")
    assert str(CASES[-1]) in printed.splitlines()[-1], "figures come last"
