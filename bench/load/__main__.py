"""A clinic's day with Locust, and how many visits at once this machine carries: `python -m vardrum.bench.load`.

(or `make bench-load`). Writes `load.json`, `load.html` with plots, the plots as PNG, and Locust's own page of the day.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..native_bots import build
from ..peers.island import NoIsland
from ..peers.janus import Unavailable
from ..report import REPORTS, Report
from ..serving import allow_files
from . import page, rivals, search
from .clinic import MEDIA, clinic_day


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both, prints the figures; 1 where a bound was missed."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.load", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--people", type=int, default=60, help="Locust users at the morning rush; 0: no clinic day")
    parser.add_argument("--day", type=float, default=300.0, help="seconds that the clinic's day lasts")
    parser.add_argument("--talk", type=float, default=30.0, help="seconds that a visit of that day lasts")
    parser.add_argument("--first", type=int, default=search.FIRST, help="visits that the search begins with; 0: none")
    parser.add_argument("--most", type=int, default=search.MOST, help="visits that it goes up to")
    parser.add_argument("--tries", type=int, default=search.TRIES, help="numbers of visits that it tries at most")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each number is measured")
    parser.add_argument("--processes", type=int, default=1, help="native processes that its bots are spread over")
    parser.add_argument("--peers", choices=["janus"], help="also search on Janus (as root, with the package `janus`)")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the reports")
    said = parser.parse_args(arguments)
    allow_files()
    figures: dict[str, float] = {}
    missed: list[str] = []
    notes: list[str] = []
    plots: dict[str, Figure] = {}
    program = build()
    if said.people:
        print(f"a clinic's day in {said.day:.0f} s, {said.people} people at the rush", flush=True)
        day = asyncio.run(clinic_day(said.people, said.day, said.talk, said.out / "load-locust.html"))
        figures |= {f"day {name}": value for name, value in day.figures.items()}
        figures["day server cores at most"] = round(max(day.server), 3)
        figures["day server memory at most MB"] = round(max(day.rss), 1)
        missed += day.judge()
        notes += [f"failed in the clinic's day: {one}" for one in day.failures]
        plots["clinic day"] = page.plot_day(day, said.day)
    if said.first:
        print("how many visits at once", flush=True)
        found, done = asyncio.run(
            search.search(
                search.OwnLab(program, said.seconds, said.processes),
                _say,
                first=said.first,
                most=said.most,
                tries=said.tries,
            )
        )
        values, full = search.figures(found, done, said.processes)
        figures |= values
        missed += [] if found else ["highest visits"]
        notes += [f"saturated first: {one}" for one in full]
        plots["visits at once"] = page.plot_search(done)
    ratios: dict[str, float] = {}
    if said.peers == "janus":
        print("the same beside Janus, with pictures alone", flush=True)
        try:
            beside = asyncio.run(rivals.beside(program, said.seconds, said.first or 1, said.most, said.tries, _say))
        except (Unavailable, NoIsland) as problem:
            missed.append(f"janus: {problem}")
        else:
            figures |= beside.figures
            ratios |= beside.ratios
            notes += beside.notes
    Report(figures, ratios, missed).write(said.out / "load.json")
    page.write(said.out / "load.html", plots, figures, notes, missed)
    media = tuple(f"day media {name} " for name in MEDIA)
    for name, value in figures.items():
        if not name.startswith("day ") or name.startswith((*media, "day server")):
            print(f"{name:50} {value:12.3f}")
    for name, value in ratios.items():
        print(f"{name:50} {value:12.2f}")
    print(*notes, sep="\n")
    print(f"{said.out / 'load.json'} and load.html; missed: {', '.join(missed) or 'nothing'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
