"""How long people wait, for who runs the server: until they are welcomed, let in, and see somebody."""

from __future__ import annotations

from prometheus_client import Histogram

# Seconds.
QUICK = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
JOINING = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
WAITING = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)


class Timings:
    """Histograms of this process; `all` of them for `Metrics.add`.

    Attributes:
        welcome: from a hello to its `welcome`: rules and disk.
        waiting: from an arrival to being let in; what a host puts on hold doesn't count.
        join: from being let in, or from the hello of somebody who was, to the first media: ICE, DTLS and the way.
    """

    def __init__(self) -> None:
        self.welcome = _histogram("welcome_seconds", "Time from hello to welcome", QUICK)
        self.waiting = _histogram("waiting_seconds", "Time that somebody waited until a host let them in", WAITING)
        self.join = _histogram("join_seconds", "Time from being let in, and there, to the first media", JOINING)
        self.all = (self.welcome, self.waiting, self.join)


def _histogram(name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"vardrum_live_{name}", about, buckets=buckets, registry=None)
