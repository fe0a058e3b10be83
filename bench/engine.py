"""CPU time per forwarded packet: the engine, beside a bare loop of the same system calls and ciphers on this machine.

`python -m vardrum.bench.engine` (or `make bench`) builds the program in `sfu/engine/examples/forwarding`, which drives
both over loopback with people who have done ICE and have keys, and measures each server's own thread in turns. Here is
what is done with its figures: every measurement of the engine is set against that of the bare loop beside it, and the
median of these ratios counts, because a shared machine changes its pace from second to second.
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

from matplotlib.figure import Figure

from .report import REPORTS, ROOT, Report

CRATE = ROOT / "sfu" / "engine"
SERVERS = ("engine", "bare")
# Seconds after which a run, which takes about 6, has no hope: nothing that hangs may hang us.
DEADLINE = 120.0


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        fan_out: viewers of each person; visits have one person more.
        size: bytes of a sealed packet, the UDP datagram's content. Small ones are sound, the others VP8.
        srtp: `gcm` (AEAD_AES_128_GCM) or `sha1` (AES128_CM_SHA1_80).
        load: forwarded packets a second over all visits, or `None` for as many as the engine takes without loss.
    """

    fan_out: int
    size: int
    srtp: str
    load: int | None

    def __str__(self) -> str:
        load = "full" if self.load is None else self.load
        return f"fanout={self.fan_out} size={self.size} srtp={self.srtp} gso=off load={load}"

    def arguments(self) -> list[str]:
        load = "full" if self.load is None else str(self.load)
        return ["--fanout", str(self.fan_out), "--size", str(self.size), "--srtp", self.srtp, "--load", load]


# 25,000 a second is what the servers that we compare ourselves with were measured at; under full load batches fill.
CASES = (
    Case(2, 1100, "gcm", 25_000),
    Case(2, 1100, "gcm", None),
    Case(2, 120, "gcm", 25_000),
    Case(2, 120, "gcm", None),
    Case(2, 1100, "sha1", None),
)


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` over all cases, in each `slices` measurements of `seconds` for either server."""

    rounds: int = 2
    slices: int = 4
    seconds: float = 0.3
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
    """All measurements of one case, those of the two servers in the same order, and what went wrong."""

    slices: dict[str, list[Slice]] = field(default_factory=lambda: {server: [] for server in SERVERS})
    problems: list[str] = field(default_factory=list)

    def take(self, lines: Iterable[str]) -> None:
        """Takes what one run of the program printed: a JSON object a line."""
        for line in lines:
            said = json.loads(line)
            server = said.pop("server")
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

    def costs(self, server: str) -> list[float]:
        """Nanoseconds per forwarded packet, one for each measurement."""
        return [measured.cost for measured in self.slices[server]]

    def ratios(self) -> list[float]:
        """The engine's cost over the bare loop's measured beside it."""
        return [ours / bare for ours, bare in zip(self.costs("engine"), self.costs("bare"), strict=True)]

    def busy(self, server: str) -> float:
        """The share of one core that the server's thread used, 0 to 1."""
        slices = self.slices[server]
        return sum(s.cpu_ns for s in slices) / sum(s.wall_ns for s in slices)

    def per_wake(self, server: str) -> float:
        """Forwarded packets for each time that the server's thread went to sleep."""
        slices = self.slices[server]
        return sum(s.forwarded for s in slices) / max(1, sum(s.wakes for s in slices))


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


def measure(program: Path, cases: Sequence[Case], effort: Effort) -> dict[Case, Outcome]:
    """Measures all cases, each `effort.rounds` times with the others in between."""
    outcomes = {case: Outcome() for case in cases}
    for _ in range(effort.rounds):
        for case, outcome in outcomes.items():
            command = [str(program), *case.arguments(), *effort.arguments()]
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


def report(outcomes: Mapping[Case, Outcome]) -> Report:
    """Medians: figures in nanoseconds of CPU per forwarded packet, ratios of the engine to the bare loop."""
    measured = {case: outcome for case, outcome in outcomes.items() if outcome.slices["engine"]}
    return Report(
        figures={
            f"server={server} {case}": round(statistics.median(outcome.costs(server)), 1)
            for case, outcome in measured.items()
            for server in SERVERS
        },
        ratios={str(case): round(statistics.median(outcome.ratios()), 3) for case, outcome in measured.items()},
        missed=[str(case) for case, outcome in outcomes.items() if outcome.problems],
    )


def plot(outcomes: Mapping[Case, Outcome], path: Path) -> None:
    """Draws every case as two bars, the medians in microseconds, with lines from the least to the most measured."""
    measured = {case: outcome for case, outcome in outcomes.items() if outcome.slices["engine"]}
    figure = Figure(figsize=(9, 1.5 + 0.8 * len(measured)), layout="constrained")
    axes = figure.subplots()
    for server, shift, colour in zip(SERVERS, (-0.2, 0.2), ("#1b6ca8", "#b9c4cc"), strict=True):
        costs = [[cost / 1000 for cost in outcome.costs(server)] for outcome in measured.values()]
        medians = [statistics.median(each) for each in costs]
        places = [place + shift for place in range(len(costs))]
        spread = [
            [median - min(each) for each, median in zip(costs, medians, strict=True)],
            [max(each) - median for each, median in zip(costs, medians, strict=True)],
        ]
        axes.barh(places, medians, height=0.38, xerr=spread, color=colour, ecolor="#555555", label=server)
    axes.set_yticks(range(len(measured)), [str(case) for case in measured])
    axes.invert_yaxis()
    axes.set_xlabel("µs of CPU per forwarded packet (median; lines: least and most)")
    figure.legend(loc="outside upper right", ncols=len(SERVERS))
    figure.savefig(path, dpi=120)


def table(outcomes: Mapping[Case, Outcome]) -> Iterator[str]:
    """What the terminal shows, line by line."""
    width = max(len(str(case)) for case in outcomes)
    yield f"{'':{width}}  engine    bare         ratio         core busy    packets"
    yield f"{'':{width}}      ns      ns  median, least-most engine   bare  a wake-up"
    for case, outcome in outcomes.items():
        if outcome.slices["engine"]:
            ours, bare = (statistics.median(outcome.costs(server)) for server in SERVERS)
            ratios = outcome.ratios()
            yield (
                f"{case!s:{width}}  {ours:6.0f}  {bare:6.0f}  {statistics.median(ratios):5.2f}, "
                f"{min(ratios):4.2f}-{max(ratios):4.2f}    {outcome.busy('engine'):4.0%}   {outcome.busy('bare'):4.0%}"
                f"  {outcome.per_wake('engine'):5.0f} {outcome.per_wake('bare'):5.0f}"
            )
        for problem in outcome.problems:
            yield f"{case!s:{width}}  not valid: {problem}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes `engine.json` and `engine.png`, prints the figures; 1 where a case is in `missed`."""
    parser = argparse.ArgumentParser(prog="python -m vardrum.bench.engine", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="times over all cases")
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
    outcomes = measure(program, CASES, Effort(said.rounds, said.slices, said.seconds, said.people))
    summary = report(outcomes)
    summary.write(said.out / "engine.json")
    plot(outcomes, said.out / "engine.png")
    print(f"{said.out / 'engine.json'} and engine.png; load average before and after: {before:.1f}, ", end="")
    print(f"{os.getloadavg()[0]:.1f}; CPU time of the server's thread per forwarded packet:")
    print(*table(outcomes), sep="\n")
    return 1 if summary.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
