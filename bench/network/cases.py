"""The lab's cases: what the phone's link is like and when it changes, and what the phone must show nonetheless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from .link import Conditions, mean_rate, read_trace

K, M = 1e3, 1e6
FAR = 0.05  # seconds one way: 100 ms round trip
LEAST = 8000  # bytes of queue
PEERS_LEAST = 3000  # the same where the peers were measured
TRACE_SECONDS = 120.0
# A camera sends 20 frames/s; a counter that is read twice a second may miss one.
FULL_RATE = 19.0
UP = Conditions(2 * M, delay=FAR, queue_least=LEAST)
DOWN = Conditions(3 * M, delay=FAR, queue_least=LEAST)


@dataclass(frozen=True)
class Change:
    """From here on the link is like this; a way that is None stays as it is."""

    up: Conditions | None = None
    down: Conditions | None = None


# The NAT forgets its mappings; the phone's interface is replaced; nothing passes; it passes again; half a core is left.
Deed = Literal["rebind", "move", "cut", "mend", "half-core"]


@dataclass(frozen=True)
class Moment:
    """What happens at a time: seconds since the case began, after its settling.

    Attributes:
        mark: the name that figures know this moment by.
    """

    at: float
    what: Change | Deed
    mark: str = ""


@dataclass(frozen=True)
class Bound:
    """A figure must be below `limit`, or with `least` at least that."""

    figure: str
    limit: float
    least: bool = False

    def holds(self, value: float) -> bool:
        """Whether it does; NaN never does."""
        return value >= self.limit if self.least else value < self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.least else '<'} {self.limit:g}"


@dataclass(frozen=True)
class Case:
    """One visit on one network.

    Attributes:
        up, down: the link while people come in and settle.
        settle: seconds between everybody's seeing everybody and the case's beginning.
        seconds: how long it is; `counted`: how much of that, from its beginning, the shares and rates are of.
        people: 3, or 2: the phone and one other.
        speaks: whether the phone's person speaks too, all the time.
        others: what is judged is what the others see and hear of the phone.
        every: seconds between two samples of a page.
        nat: whether a NAT stands before the phone.
        peers: the best peer's column for two people, see `PEERS`.
    """

    name: str
    bounds: tuple[Bound, ...]
    moments: tuple[Moment, ...] = ()
    up: Conditions = UP
    down: Conditions = DOWN
    settle: float = 10.0
    seconds: float = 60.0
    counted: float = 60.0
    people: int = 3
    speaks: bool = False
    others: bool = False
    every: float = 0.5
    nat: bool = False
    peers: Mapping[str, float] = field(default_factory=dict)


CONCEALED, FROZEN, LOST, QUEUE = "concealed %", "frozen %", "lost in queue %", "queue ms"
FPS, SPEAKER = "fps", "fps of who speaks"
# What the link has left, of what the cheapest further step would take: below 1 none fits.
FREE = "free of next step"


def _sound_and_picture(concealed: float, frozen: float) -> tuple[Bound, ...]:
    return Bound(CONCEALED, concealed), Bound(FROZEN, frozen)


def _down(rate: float, at: float = 0.0, mark: str = "", base: Conditions = DOWN) -> Moment:
    return Moment(at, Change(down=replace(base, rate=rate)), mark)


def _both(base: Conditions = DOWN, **what: float) -> Moment:
    link = replace(base, rate=2 * M, **what)  # type: ignore[arg-type]
    return Moment(0, Change(link, link))


def _step(base: Conditions = DOWN) -> tuple[Moment, ...]:
    return _down(2 * M, 0, base=base), _down(250 * K, 20, "fall", base), _down(2 * M, 40, "back", base)


THREE = (
    Case(
        "300",
        (
            *_sound_and_picture(0.5, 2),
            Bound(SPEAKER, 18, least=True),
            Bound(FREE, 1),
            Bound(QUEUE, 60),
            Bound(LOST, 3),
        ),
        (_down(300 * K),),
    ),
    Case("150", (*_sound_and_picture(1, 3), Bound(LOST, 5)), (_down(150 * K),)),
    Case(
        "80",
        # Paused, but for the seconds until it is clear that nothing else helps.
        (Bound(CONCEALED, 2), Bound("paused %", 80, least=True), Bound("picture back s", 10)),
        (_down(80 * K), _down(1 * M, 60, "back")),
        seconds=75,
    ),
    Case(
        "step",
        (Bound(CONCEALED, 0.5), Bound("standstill s", 1), Bound("former layer s", 10)),
        _step(),
        every=0.25,
    ),
    Case("loss2", (*_sound_and_picture(0.1, 1), Bound(FPS, FULL_RATE, least=True)), (_both(loss=0.02),)),
    Case("loss8", (*_sound_and_picture(0.3, 1), Bound(FPS, FULL_RATE, least=True)), (_both(loss=0.08),)),
    Case("bursts", _sound_and_picture(0.5, 1), (_both(loss=0.03, burst=5),)),
    Case(
        "loss8-far",
        # RED at work: each packet carries the one before it again, but for those that are lost.
        (*_sound_and_picture(2.5, 5), Bound("sound sent, times", 1.4, least=True)),
        (_both(loss=0.08, delay=0.15),),
    ),
    Case(
        "uplink",
        _sound_and_picture(0.5, 3),
        (Moment(0, Change(up=replace(UP, rate=200 * K))),),
        speaks=True,
        others=True,
    ),
    Case(
        "half-core",
        (*_sound_and_picture(0.5, 5), Bound("decoded % after 10 s", 95, least=True)),
        (Moment(0, "half-core"),),
        up=replace(UP, rate=None),
        down=replace(DOWN, rate=None),
    ),
    Case(
        "rebind",
        (Bound("gap s", 0.5), Bound("standstill s", 1)),
        (Moment(2, "rebind", "cut"),),
        seconds=12,
        counted=12,
        speaks=True,
        every=0.1,
        nat=True,
    ),
    Case(
        "move",
        (Bound("gap s", 3), Bound("standstill s", 4)),
        (
            Moment(2, Change(replace(UP, delay=0.06), replace(DOWN, delay=0.06))),
            Moment(2, "move", "cut"),
        ),
        up=replace(UP, delay=0.01),
        down=replace(DOWN, delay=0.01),
        seconds=20,
        counted=20,
        speaks=True,
        every=0.1,
    ),
    Case(
        "dead-zone",
        (Bound("sound back s", 4),),
        (Moment(0, "cut"), Moment(120, "mend", "mended")),
        seconds=140,
        counted=140,
        speaks=True,
        every=0.25,
    ),
    Case("join-500", (Bound("first picture s", 1),), down=replace(DOWN, rate=500 * K), settle=2, seconds=0),
    Case("join-3000", (Bound("first picture s", 0.6),), settle=2, seconds=0),
)

# The best of the peers in each column, each column for itself, as they were measured in such a lab; of the traces the
# middle of the better one's range. One run each: a difference below a third is noise.
NOISE = 4 / 3
_COLUMNS = (FPS, FROZEN, CONCEALED, QUEUE, LOST)
PEERS: Mapping[str, Mapping[str, float]] = {
    name: dict(zip(_COLUMNS, values, strict=True))
    for name, values in {
        "80": (0.2, 96, 2.5, 82, 49),
        "150": (3.5, 59, 1.4, 41, 33),
        "300": (11, 4.6, 0.5, 31, 14),
        "400": (17, 5, 0.3, 32, 9),
        "500": (24, 0.8, 0.3, 27, 6),
        "step": (18, 5.8, 0.7, 18, 13),
        "loss8": (25, 0, 0.7, 10, 0),
        "trace": (18, 1.7, 0.75, 40, 1),
    }.items()
}
# Where ours has to be ahead by more than noise: pictures that move, where the peers' hardly do.
AHEAD = ("80", "150", "300", "400", "step")
# So little is not "behind", even where a peer has nothing: an interval in a minute, a packet of sound, and so on.
NEXT_TO_NOTHING = {FROZEN: 1.0, CONCEALED: 0.1, QUEUE: 10.0, LOST: 0.5}


def beside_peers(name: str) -> tuple[Bound, ...]:
    """No column behind the best peer's by more than noise; frames and freezes ahead by more than noise in `AHEAD`."""
    more = NOISE if name in AHEAD else 1.0
    bounds = []
    for figure, best in PEERS[name].items():
        if figure == FPS:
            # Our cameras send 20 frames/s, theirs sent 25.
            bounds.append(Bound(figure, min(best * more, FULL_RATE), least=True))
        else:
            worst = best / more if figure == FROZEN and more > 1 else best * NOISE
            bounds.append(Bound(figure, max(worst, NEXT_TO_NOTHING[figure])))
    return tuple(bounds)


def _two() -> Iterator[Case]:
    base = Case(
        "",
        (),
        up=Conditions(1 * M, delay=FAR, queue_least=PEERS_LEAST),
        down=Conditions(3 * M, delay=FAR, queue_least=PEERS_LEAST),
        settle=15,
        people=2,
    )
    for name in PEERS:
        moments: tuple[Moment, ...]
        if name == "trace":
            continue
        if name == "step":
            moments = _step(base.down)
        elif name == "loss8":
            moments = (_both(base.down, loss=0.08),)
        else:
            moments = (_down(float(name) * K, base=base.down),)
        yield replace(base, name=f"two-{name}", bounds=beside_peers(name), moments=moments, peers=PEERS[name])


TWO = tuple(_two())


def from_traces(folder: Path) -> list[Case]:
    """A case for each trace in `folder`, for three people and for two; none where the folder isn't there."""
    found = []
    for path in sorted(folder.glob("*.txt")):
        text, name = path.read_text(encoding="utf-8"), path.stem.split("_")[0]
        down, up = read_trace(text, TRACE_SECONDS), read_trace(text, TRACE_SECONDS, 0.5)
        three = Case(
            f"trace-{name}",
            (*_sound_and_picture(0.5, 2), Bound(FPS, FULL_RATE, least=True), Bound("layer changes/min", 4)),
            (Moment(0, Change(replace(UP, trace=up), replace(DOWN, trace=down))),),
            seconds=TRACE_SECONDS,
            counted=TRACE_SECONDS,
        )
        # The peers' queue had 200 ms at the trace's mean.
        held = replace(DOWN, trace=down, queue=0, queue_least=round(mean_rate(down, TRACE_SECONDS) * 0.2 / 8))
        two = replace(
            TWO[0],
            name=f"two-trace-{name}",
            bounds=beside_peers("trace"),
            moments=(Moment(0, Change(replace(held, trace=up), held)),),
            seconds=TRACE_SECONDS,
            counted=TRACE_SECONDS,
            peers=PEERS["trace"],
        )
        found += [three, two]
    return found


def chosen(names: Sequence[str], traces: Path) -> list[Case]:
    """The cases with these names; `three` and `two` are all of that many people.

    Raises:
        KeyError: a name that there isn't; the text has those that there are.
    """
    known = [*THREE, *TWO, *from_traces(traces)]
    found = []
    for name in names:
        some = [case for case in known if name in (case.name, {2: "two", 3: "three"}[case.people])]
        if not some:
            raise KeyError(f"no case {name}; there are {', '.join(case.name for case in known)}, three, two")
        found += some
    return found
