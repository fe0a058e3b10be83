"""A phone on bad networks: real browsers, a real server, and a link that can be as bad as one likes.

`python -m vardrum.bench.network` (or `make bench-network`), as root. Each case is a visit of its own: people come in
while the link is good, 10 s later it becomes what the case says, and from there the phone's own statistics and the
link's counts are taken. Figures are printed beside their bounds as soon as a case has ended. What a browser conceals or
drops for want of CPU looks like a bad network, so the machine's load is printed with each case.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..report import REPORTS, ROOT, Report
from .cases import Case, chosen
from .cores import NoCores
from .measures import figures
from .plot import plot
from .rival.visit import JanusVisit
from .visit import OurVisit, Visit, have, seed_of

TRACES = ROOT.parent / "shared" / "traces"
# Peers that can be measured in the same visit, and in which cases; of the traces in the first.
RIVALS: Mapping[str, type[Visit]] = {"janus": JanusVisit}
RIVAL_CASES, TRACE_CASE = ("300", "80", "step", "loss8"), "trace-"
# What is printed of both, side by side.
COMPARED = (
    *("concealed %", "frozen %", "paused %", "fps", "height", "queue ms", "lost in queue %", "standstill s"),
    *("picture back s", "former layer s", "concealed near %", "load %"),
)
# Beyond this the browsers themselves starve, and what they conceal says nothing about the network.
LOADED = 90.0


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each figure the median of the runs that have it."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: statistics.median(run[name] for run in runs if name in run) for name in names}


def missed(case: Case, measured: Mapping[str, float]) -> list[str]:
    """The bounds that don't hold; a figure that is missing holds none."""
    return [
        f"{bound.figure} {measured.get(bound.figure, math.nan):.3g} (bound {bound})"
        for bound in case.bounds
        if not bound.holds(measured.get(bound.figure, math.nan))
    ]


def lines(case: Case, measured: Mapping[str, float]) -> Iterator[str]:
    """What the terminal shows of a case: each bound with its figure, then the other figures."""
    for bound in case.bounds:
        value = measured.get(bound.figure, math.nan)
        peer = f", best peer {case.peers[bound.figure]:g}" if bound.figure in case.peers else ""
        yield f"  {'ok    ' if bound.holds(value) else 'MISSED'} {bound.figure} {value:.3g}  (bound {bound}{peer})"
    bounded = {bound.figure for bound in case.bounds}
    rest = [f"{name} {value:.3g}" for name, value in measured.items() if name not in bounded]
    yield "         " + ", ".join(rest)
    if measured.get("load %", 0) > LOADED:
        yield f"         the machine was full ({measured['load %']:.0f} %): these figures say little"


async def _measure(
    case: Case, runs: int, seed: int, out: Path, visit: type[Visit] = OurVisit, whose: str = ""
) -> list[dict[str, float]]:
    found = []
    name = f"{case.name}{whose and f' on {whose}'}"
    for run in range(runs):
        began = time.monotonic()
        try:
            recording = await have(case, seed_of(case.name, run, seed), visit)
        except NoCores:
            raise
        except Exception as error:  # of a browser, the server or the machine: the other cases are measured all the same
            text = "".join(traceback.format_exception(error))
            print(f"{name}, run {run + 1}: no visit: {text}", file=sys.stderr, flush=True)
            continue
        measured = figures(case, recording)
        found.append(measured)
        stem = f"network-{case.name}" + (f"-{whose}" if whose else "") + (f"-{run}" if run else "")
        (out / f"{stem}.recording.json").write_text(json.dumps(asdict(recording)), encoding="utf-8")
        plot(case, recording, measured, out / f"{stem}.png")
        print(f"{name}, run {run + 1} of {runs}, {time.monotonic() - began:.0f} s", flush=True)
        for complaint in recording.complaints[:3]:
            print(f"  the server's log: {complaint[:300]}", flush=True)
        if runs > 1:
            print(*(lines(case, measured) if not whose else [f"         {measured}"]), sep="\n", flush=True)
    return found


def beside(ours: Mapping[str, float], theirs: Mapping[str, float], whose: str) -> Iterator[str]:
    """What the terminal shows of two servers in the same case."""
    yield f"         {'':18}{'ours':>10}{whose:>10}"
    for name in COMPARED:
        if name in ours and name in theirs:
            yield f"         {name:18}{ours[name]:>10.3g}{theirs[name]:>10.3g}"


async def measure(cases: Sequence[Case], runs: int, seed: int, out: Path, rivals: Sequence[str] = ()) -> Report:
    """All cases, one after the other, printed and written as they end; some of them on `rivals` too."""
    first_trace = next((case.name for case in cases if case.name.startswith(TRACE_CASE)), "")
    report = Report({}, {}, ["nothing was measured"])
    all_figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    all_missed = []
    for case in cases:
        found = await _measure(case, runs, seed, out)
        measured = medians(found)
        if runs > 1:
            print(f"{case.name}, median of {len(found)} runs", flush=True)
        print(*lines(case, measured), sep="\n", flush=True)
        all_figures |= {f"case={case.name} {name}": round(value, 4) for name, value in measured.items()}
        all_missed += [f"case={case.name} {text}" for text in missed(case, measured)]
        if len(found) < runs:
            all_missed.append(f"case={case.name} {runs - len(found)} of {runs} runs had no visit")
        for name, peer in case.peers.items():
            if peer and name in measured:
                ratios[f"case={case.name} {name}"] = round(measured[name] / peer, 3)
        for whose in rivals if case.name in (*RIVAL_CASES, first_trace) else ():
            theirs = medians(await _measure(case, runs, seed, out, RIVALS[whose], whose))
            all_figures |= {f"case={case.name} peer={whose} {name}": round(value, 4) for name, value in theirs.items()}
            for name in COMPARED:
                if theirs.get(name) and name in measured:
                    ratios[f"case={case.name} peer={whose} {name}"] = round(measured[name] / theirs[name], 3)
            print(*beside(measured, theirs, whose), sep="\n", flush=True)
        report = Report(all_figures, ratios, all_missed)
        report.write(out / "network.json")
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes `network.json` and a plot for each case, prints the figures; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.network", description=(__doc__ or "").split("\n")[0])
    names = "cases by name; `three` and `two` are all with so many people"
    parser.add_argument("--case", nargs="*", default=["three"], help=names)
    parser.add_argument("--list", action="store_true", help="only say which cases there are")
    parser.add_argument("--runs", type=int, default=1, help="how often each case is measured; figures are medians")
    parser.add_argument("--seed", type=int, default=1, help="another number: other packets are lost")
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of measured throughput")
    parser.add_argument(
        "--peers", nargs="*", default=[], choices=sorted(RIVALS), help="measure some cases on these too, side by side"
    )
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    if not said.traces.is_dir():
        print(f"no traces: there is no folder {said.traces} (--traces names another one)")
    try:
        cases = chosen(["three", "two"] if said.list else said.case, said.traces)
    except KeyError as error:
        parser.error(str(error.args[0]))
    if said.list:
        for case in cases:
            print(f"{case.name:16} {', '.join(f'{bound.figure} {bound}' for bound in case.bounds)}")
        return 0
    said.out.mkdir(parents=True, exist_ok=True)
    # Ended from outside it takes down what it has built, as it does for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = asyncio.run(measure(cases, said.runs, said.seed, said.out, said.peers))
    except NoCores as error:
        print(f"no phone here: {error}", file=sys.stderr)
        return 1
    print(f"{said.out / 'network.json'} and a plot for each case; missed: {len(report.missed) or 'nothing'}")
    for text in report.missed:
        print(f"  {text}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
