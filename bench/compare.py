"""Two reports beside each other: `python -m vardrum.bench.compare A B`, A what was before, B what is now.

Prints every figure of both with B's ratio to A, and which got worse by more than a share. Exit status 1 where any did,
or where B misses a bound that A didn't; 2 where a file is no report.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORSE = 0.1
# Of most figures (times, CPU, memory, loss) less is better. Of these more is, as of how many times ours another's is.
MORE = re.compile(r"visits that fit|highest|a second|packets/s|per-s\b|/ vardrum$")
# How much was done, and in what time: neither better nor worse.
NEITHER = re.compile(r"count$|^done:|^minutes$|^bound of|forwarded-per-s|joins-per-s|load's|others")


class NoReport(Exception):
    """A file isn't one of our reports; the text says why."""


@dataclass(frozen=True)
class Row:
    """One figure in both reports; NaN where one of them hasn't got it.

    Attributes:
        better: -1 less is better, 1 more is, 0 neither.
    """

    name: str
    before: float
    now: float
    better: int

    @property
    def ratio(self) -> float:
        """What is now against what was; NaN where that can't be said."""
        if self.before == self.now:
            return 1.0
        return self.now / self.before if self.before else math.nan if math.isnan(self.now) else math.inf

    def worse(self, share: float) -> bool:
        """Whether it got worse by more than `share` (0.1: a tenth)."""
        if self.better == 0 or math.isnan(self.ratio):
            return False
        return self.ratio > 1 + share if self.better < 0 else self.ratio < 1 / (1 + share)


def load(path: Path) -> Mapping[str, Any]:
    """A report.

    Raises:
        NoReport: it can't be read, or isn't one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoReport(f"{path}: {error}") from None
    if not isinstance(content, dict) or not {"machine", "commit", "figures", "ratios", "missed"} <= content.keys():
        raise NoReport(f"{path}: is not a report (expected machine, commit, figures, ratios and missed)")
    return content


def rows(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Row]:
    """All figures and ratios of both, in the order in which they are in B and then in A."""
    found = []
    for part in ("figures", "ratios"):
        names = [*now[part], *(name for name in before[part] if name not in now[part])]
        found += [
            Row(name, float(before[part].get(name, math.nan)), float(now[part].get(name, math.nan)), better(name))
            for name in names
        ]
    return found


def better(name: str) -> int:
    """Whether more (1) or less (-1) of a figure is better, or neither (0)."""
    return 0 if NEITHER.search(name) else 1 if MORE.search(name) else -1


def table(found: Sequence[Row], share: float) -> Iterator[str]:
    """What the terminal shows, line by line."""
    width = max([len(one.name) for one in found], default=10)
    yield f"{'':{width}}  {'A':>12}  {'B':>12}  {'B/A':>6}"
    for one in found:
        mark = "  worse" if one.worse(share) else ""
        yield f"{one.name:{width}}  {_number(one.before)}  {_number(one.now)}  {_ratio(one.ratio)}{mark}"


def _number(value: float) -> str:
    return f"{'-':>12}" if math.isnan(value) else f"{value:12.3f}"


def _ratio(value: float) -> str:
    return f"{'-':>6}" if math.isnan(value) else f"{value:6.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the comparison; the exit status says whether something got worse."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path, metavar="A", help="a report, such as build/reports/load.json, of before")
    parser.add_argument("now", type=Path, metavar="B", help="the same report of now")
    parser.add_argument("--worse", type=float, default=WORSE, help="share by which a figure may get worse")
    said = parser.parse_args(arguments)
    try:
        before, now = load(said.before), load(said.now)
    except NoReport as problem:
        print(problem, file=sys.stderr)
        return 2
    print(f"A {before['commit']}, {before['machine']}", f"B {now['commit']}, {now['machine']}", sep="\n")
    if before["machine"] != now["machine"]:
        print("They are of different machines: what differs may be theirs.")
    found = rows(before, now)
    print(*table(found, said.worse), sep="\n")
    worse = [one.name for one in found if one.worse(said.worse)]
    missed = [case for case in now["missed"] if case not in before["missed"]]
    print(f"worse by more than {said.worse:.0%}: {', '.join(worse) or 'nothing'}")
    print(f"missed now and not before: {', '.join(map(str, missed)) or 'nothing'}")
    return 1 if worse or missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
