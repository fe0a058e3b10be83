"""CPU time per forwarded packet: the engine, beside a bare loop of the same system calls and ciphers on this machine.

`python -m vardrum.bench.engine` (or `make bench`) builds the program in `sfu/engine/examples/forwarding`, which drives
both over loopback with people who have done ICE and have keys, and measures each server's own thread in turns, with UDP
GSO and without. Pictures come as bursts of four packets whose sizes differ by a byte at most, sound as single packets
of one size. Here is what is done with the figures: every measurement of the engine is set against that of the bare loop
without GSO beside it, and the median of these ratios counts, because a shared machine changes its pace from second to
second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .report import REPORTS, ROOT, Report

CRATE = ROOT / "sfu" / "engine"
# Seconds after which a run, which takes about 8, has no hope: nothing that hangs may hang us.
DEADLINE = 120.0
# What the engine may cost at most, by fan-out, in costs of the bare loop without GSO, when a core is half busy or more.
BOUNDS = {2: 1.4, 9: 1.25}
# With GSO, where it can work: pictures' packets, as many as the server takes.
BOUND_GSO = 1.0
BUSY = 0.5


class Server(NamedTuple):
    """One of what is measured: the engine or the bare loop, with or without GSO."""

    name: str
    gso: bool

    def __str__(self) -> str:
        return f"{self.name}, GSO" if self.gso else self.name


def _engine(gso: bool) -> Server:
    return Server("engine", gso)


def _bare(gso: bool) -> Server:
    return Server("bare", gso)


SERVERS = (_bare(False), _engine(False), _bare(True), _engine(True))


@dataclass(frozen=True)
class Load:
    """What all servers are measured under.

    Attributes:
        fan_out: viewers of each person; visits have one person more.
        size: bytes of a sealed packet, the UDP datagram's content. Small ones are sound, the others VP8.
        srtp: `gcm` (AEAD_AES_128_GCM) or `sha1` (AES128_CM_SHA1_80).
        rate: forwarded packets a second over all visits, or `None` for as many as the server takes without loss.
    """

    fan_out: int
    size: int
    srtp: str
    rate: int | None

    def case(self, gso: bool) -> str:
        """The name of a case in the report."""
        load = "full" if self.rate is None else self.rate
        return f"fanout={self.fan_out} size={self.size} srtp={self.srtp} gso={'on' if gso else 'off'} load={load}"

    def arguments(self) -> list[str]:
        load = "full" if self.rate is None else str(self.rate)
        return ["--fanout", str(self.fan_out), "--size", str(self.size), "--srtp", self.srtp, "--load", load]


SIZES = (1100, 120)
SRTP = ("gcm", "sha1")
# 25,000 a second is what the servers that we compare ourselves with were measured at; under full load batches fill.
FAN_OUTS: Mapping[int | None, tuple[int, ...]] = {None: (1, 2, 5, 9), 25_000: (2, 9)}
LOADS = tuple(
    Load(fan_out, size, srtp, rate)
    for rate, fan_outs in FAN_OUTS.items()
    for size in SIZES
    for srtp in SRTP
    for fan_out in fan_outs
)


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` over all loads, in each `slices` measurements of `seconds` for each server."""

    rounds: int = 1
    slices: int = 4
    seconds: float = 0.2
    people: int = 99

    def arguments(self) -> list[str]:
        return ["--slices", str(self.slices), "--seconds", str(self.seconds), "--people", str(self.people)]


@dataclass(frozen=True)
class Slice:
    """One measurement of one server: nanoseconds and counts."""

    cpu_ns: int
    forwarded: int
    wall_ns: int
    wakes: int

    @property
    def cost(self) -> float:
        """Nanoseconds of the thread's CPU time per forwarded packet, of which a server that loses all has none."""
        return self.cpu_ns / max(1, self.forwarded)


@dataclass
class Outcome:
    """All measurements under one load, those of all servers in the same order, and what went wrong."""

    slices: dict[Server, list[Slice]] = field(default_factory=lambda: {server: [] for server in SERVERS})
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every server was measured."""
        return all(self.slices.values())

    def take(self, lines: Iterable[str]) -> None:
        """Takes what one run of the program printed: a JSON object a line."""
        for line in lines:
            said = json.loads(line)
            server = Server(said.pop("server"), said.pop("gso"))
            if "cpu_ns" in said:
                self.slices[server].append(Slice(**said))
            elif not said["owed"] == said["forwarded"] == said["received"]:
                drops = ", ".join(f"{name} {n}" for name, n in said["drops"].items()) or "no named drop"
                self.problems.append(
                    f"{server}: {said['owed']} packets to forward, {said['forwarded']} forwarded, "
                    f"{said['received']} received ({drops})"
                )
            elif said["drops"]:
                self.problems.append(f"{server}: {said['drops']}")

    def costs(self, server: Server) -> list[float]:
        """Nanoseconds per forwarded packet, one for each measurement."""
        return [measured.cost for measured in self.slices[server]]

    def ratios(self, server: Server) -> list[float]:
        """The server's cost over that of the bare loop without GSO measured beside it."""
        return [ours / bare for ours, bare in zip(self.costs(server), self.costs(_bare(False)), strict=True)]

    def busy(self, server: Server) -> float:
        """The share of one core that the server's thread used, 0 to 1."""
        slices = self.slices[server]
        return sum(s.cpu_ns for s in slices) / sum(s.wall_ns for s in slices)

    def per_wake(self, server: Server) -> float:
        """Forwarded packets for each time that the server's thread went to sleep."""
        slices = self.slices[server]
        return sum(s.forwarded for s in slices) / max(1, sum(s.wakes for s in slices))


Outcomes = Mapping[Load, Outcome]


def bound(load: Load, outcome: Outcome, gso: bool) -> float | None:
    """What the engine's ratio may be at most under this load; None where nothing is asked of it."""
    if load.fan_out not in BOUNDS or (load.rate is not None and outcome.busy(_engine(gso)) < BUSY):
        return None
    if gso:
        return BOUND_GSO if load.rate is None and load.size == max(SIZES) else None
    return BOUNDS[load.fan_out]


def build(profile: str = "release") -> Path:
    """Builds the measuring program with Cargo's `profile` (`release` or `dev`), and says where it is.

    Raises:
        subprocess.CalledProcessError: Cargo has said why on standard error.
        FileNotFoundError: there is no Cargo, or these are not the sources.
    """
    command = ["cargo", "build", "--quiet", "--offline", "--locked", "--profile", profile, "--example", "forwarding"]
    result = subprocess.run(
        [*command, "--message-format", "json"], cwd=CRATE, stdout=subprocess.PIPE, text=True, check=True
    )
    built = (json.loads(line).get("executable") for line in result.stdout.splitlines())
    return Path(next(path for path in built if path))


def measure(program: Path, loads: Sequence[Load], effort: Effort) -> dict[Load, Outcome]:
    """Measures under all loads, each `effort.rounds` times with the others in between."""
    outcomes = {load: Outcome() for load in loads}
    for _ in range(effort.rounds):
        for load, outcome in outcomes.items():
            command = [str(program), *load.arguments(), *effort.arguments()]
            try:
                run = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
            except subprocess.TimeoutExpired:
                outcome.problems.append(f"not done after {DEADLINE:.0f} s")
                continue
            if run.returncode == 0:
                outcome.take(run.stdout.splitlines())
            else:
                outcome.problems.append(run.stderr.strip())
    return outcomes


def report(outcomes: Outcomes, *, judged: bool = True) -> Report:
    """Medians: figures in nanoseconds of CPU per forwarded packet, ratios of the engine to the bare loop without GSO.

    Args:
        judged: whether a ratio above its bound counts as missed; a build that isn't optimised can't be judged.
    """
    figures, ratios, missed = {}, {}, []
    for load, outcome in outcomes.items():
        for server in SERVERS if outcome.complete else ():
            figures[f"server={server.name} {load.case(server.gso)}"] = round(
                statistics.median(outcome.costs(server)), 1
            )
        for gso in (False, True):
            case, most = load.case(gso), None
            if outcome.complete:
                ratios[case] = round(statistics.median(outcome.ratios(_engine(gso))), 3)
                most = bound(load, outcome, gso) if judged else None
            if outcome.problems or (most is not None and ratios[case] > most):
                missed.append(case)
    return Report(figures=figures, ratios=ratios, missed=missed)


COLOURS = {_bare(False): "#b9c4cc", _engine(False): "#1b6ca8", _bare(True): "#dcd3b8", _engine(True): "#d98e04"}


def plot(outcomes: Outcomes, path: Path) -> None:
    """Draws a panel for each size and cipher, a row of them for each kind of load; in it four bars for each fan-out.

    Bars are medians in microseconds, lines go from the least to the most measured, and the engine's bars say their
    ratio to the bare loop without GSO.
    """
    figure = Figure(figsize=(15, 4.2 * len(FAN_OUTS)), layout="constrained")
    panels = figure.subplots(len(FAN_OUTS), len(SIZES) * len(SRTP), sharey="row", squeeze=False)
    for row, rate in zip(panels, FAN_OUTS, strict=True):
        kinds = [(size, srtp) for size in SIZES for srtp in SRTP]
        for axes, (size, srtp) in zip(row, kinds, strict=True):
            shown = {
                load.fan_out: outcome
                for load, outcome in outcomes.items()
                if (load.size, load.srtp, load.rate) == (size, srtp, rate) and outcome.complete
            }
            _panel(axes, shown)
            load_name = "full load" if rate is None else f"{rate:,} packets/s"
            axes.set_title(f"{size} bytes, {srtp}, {load_name}", fontsize=10)
        row[0].set_ylabel("µs of CPU per forwarded packet")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(SERVERS))
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, shown: Mapping[int, Outcome]) -> None:
    width = 0.2
    for number, server in enumerate(SERVERS):
        costs = [[cost / 1000 for cost in outcome.costs(server)] for outcome in shown.values()]
        medians = [statistics.median(each) for each in costs]
        places = [place + (number - 1.5) * width for place in range(len(costs))]
        spread = [
            [median - min(each) for each, median in zip(costs, medians, strict=True)],
            [max(each) - median for each, median in zip(costs, medians, strict=True)],
        ]
        colour = COLOURS[server]
        axes.bar(places, medians, width, yerr=spread, color=colour, ecolor="#555555", label=str(server))
        for place, outcome in zip(places, shown.values(), strict=True):
            if server.name == "engine":
                ratio = f"{statistics.median(outcome.ratios(server)):.2f}"
                axes.text(place, 0, ratio, ha="center", va="bottom", fontsize=7, rotation=90, color="white")
    axes.set_xticks(range(len(shown)), [f"{fan_out} viewer{'s'[: fan_out - 1]}" for fan_out in shown])


def table(outcomes: Outcomes) -> Iterator[str]:
    """What the terminal shows, line by line."""
    width = max(len(load.case(False)) for load in outcomes)
    yield f"{'':{width}}  engine    bare         ratio     bound  core busy    packets    bare loop"
    yield f"{'':{width}}      ns      ns  median, least-most       engine   bare  a wake-up  with GSO"
    for load, outcome in outcomes.items():
        for gso in (False, True) if outcome.complete else ():
            ours, bare = _engine(gso), _bare(False)
            ratios, most = outcome.ratios(ours), bound(load, outcome, gso)
            yield (
                f"{load.case(gso):{width}}  {statistics.median(outcome.costs(ours)):6.0f}  "
                f"{statistics.median(outcome.costs(bare)):6.0f}  {statistics.median(ratios):5.2f}, "
                f"{min(ratios):4.2f}-{max(ratios):4.2f}  {'' if most is None else f'{most:.2f}':>6}  "
                f"{outcome.busy(ours):5.0%}  {outcome.busy(bare):5.0%}  "
                f"{outcome.per_wake(ours):5.0f} {outcome.per_wake(bare):5.0f}"
                + (f"  {statistics.median(outcome.ratios(_bare(True))):7.2f}" if gso else "")
            )
        for problem in outcome.problems:
            yield f"{load.case(False):{width}}  not valid: {problem}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes `engine.json` and `engine.png`, prints the figures; 1 where a case is in `missed`."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.engine", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="times over all loads")
    parser.add_argument("--slices", type=int, default=Effort.slices, help="measurements of each server a round")
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="length of one measurement")
    parser.add_argument("--people", type=int, default=Effort.people, help="people in all visits together")
    parser.add_argument("--profile", default="release", choices=("release", "dev"), help="Cargo's profile")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    said = parser.parse_args(arguments)
    try:
        program = build(said.profile)
    except (subprocess.CalledProcessError, FileNotFoundError) as problem:
        print(f"the engine's measuring program was not built: {problem}", file=sys.stderr)
        return 1
    before = os.getloadavg()[0]
    outcomes = measure(program, LOADS, Effort(said.rounds, said.slices, said.seconds, said.people))
    summary = report(outcomes, judged=said.profile == "release")
    summary.write(said.out / "engine.json")
    plot(outcomes, said.out / "engine.png")
    print(f"{said.out / 'engine.json'} and engine.png; load average before and after: {before:.1f}, ", end="")
    print(f"{os.getloadavg()[0]:.1f}; CPU time of the server's thread per forwarded packet, ", end="")
    print("ratios to the bare loop without GSO:")
    print(*table(outcomes), sep="\n")
    for case in summary.missed:
        print(f"missed: {case}")
    return 1 if summary.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
