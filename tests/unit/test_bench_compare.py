"""Two reports beside each other: what got worse, and in which direction worse is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vardrum.bench import compare
from vardrum.bench.report import Report


def written(path: Path, figures: dict[str, float], ratios: dict[str, float] | None = None, missed: Any = ()) -> str:
    Report(figures, ratios or {}, missed).write(path)
    return str(path)


def test_nothing_worse_is_said_and_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a.json", {"join p95 ms": 100, "highest visits": 50, "day media join count": 900})
    b = written(tmp_path / "b.json", {"join p95 ms": 109, "highest visits": 60, "day media join count": 1})
    assert compare.main([a, b]) == 0
    said = capsys.readouterr().out
    assert "1.09" in said
    assert "worse by more than 10%: nothing" in said


@pytest.mark.parametrize(
    ("name", "before", "now"),
    [
        ("media join p95 ms", 100, 111),
        ("highest visits", 100, 90),
        ("lost visits=50", 0, 3),
        ("database=sqlite rooms a second", 100, 80),
        ("janus nss / vardrum", 8.0, 7.0),
    ],
)
def test_worse_is_more_of_some_and_less_of_others(tmp_path: Path, name: str, before: float, now: float) -> None:
    a, b = written(tmp_path / "a.json", {name: before}), written(tmp_path / "b.json", {name: now})
    assert compare.main([a, b]) == 1
    assert compare.main([a, b, "--worse", "100"]) == (1 if before == 0 else 0)
    assert compare.main([b, a]) == 0


def test_what_only_one_of_them_has_is_shown_and_never_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path / "a.json", {"old ms": 1}), written(tmp_path / "b.json", {"new ms": 2})
    assert compare.main([a, b]) == 0
    assert "old ms" in capsys.readouterr().out


def test_a_bound_that_is_missed_now_counts(tmp_path: Path) -> None:
    a = written(tmp_path / "a.json", {}, missed=["known"])
    b = written(tmp_path / "b.json", {}, missed=["known", "new"])
    assert compare.main([a, b]) == 1
    assert compare.main([b, a]) == 0


def test_another_machine_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.json", written(tmp_path / "b.json", {})
    a.write_text(json.dumps({**json.loads(Path(b).read_text()), "machine": "another"}))
    assert compare.main([str(a), b]) == 0
    assert "different machines" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"figures": {}}'])
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = tmp_path / "x.json", written(tmp_path / "b.json", {})
    path.write_text(text)
    assert compare.main([str(path), other]) == 2
    assert "x.json" in capsys.readouterr().err
