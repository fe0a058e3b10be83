"""The real allocation over the real estimate: visits of three, each viewer behind a link of their own."""

from __future__ import annotations

import numpy as np
from vardrum.sfu.allocation import NOTHING, Allocation, Option, Priority, Want, allocate
from vardrum.sfu.bandwidth import Bandwidth, Estimates

from .link import Floats, Network, Traffic

# Two cameras with the layers that are asked for, bit/s on the wire; who speaks changes each so many seconds.
LOW, HIGH = 163_000.0, 545_000.0
TURN = 7.0
# Others than those with room for all are decided anew each so many ticks, which is what it costs here.
LIMITED, CONTENT = 2, 10


def _wants(speaker: int) -> list[Want]:
    return [
        Want(
            slot,
            (slot + 1, 1),
            Priority.ACTIVE if slot == speaker else Priority.OTHER,
            (Option(0, 0, 0.6 * LOW), Option(0, 255, LOW), Option(1, 255, HIGH)),
            lowest=LOW,
        )
        for slot in range(2)
    ]


WANTS = (_wants(0), _wants(1))


class Allocating:
    """What each viewer is sent, as `sfu/routing.py` and `sfu/adaptation.py` decide it."""

    def __init__(self, network: Network) -> None:
        self.bandwidth = Bandwidth()
        self.allocations: list[Allocation] = [NOTHING] * network.count
        self.decided: list[list[tuple[float, float, Allocation]]] = [[] for _ in range(network.count)]
        self.shown = [(-1, -1)] * network.count
        self.tick = 0

    def __call__(self, now: float, rows: Floats) -> tuple[Traffic, Estimates]:
        self.tick += 1
        wanted = {at + 1: one.wished for at, one in enumerate(self.allocations) if not one.content}
        estimates = self.bandwidth.update(now, rows, wanted)
        speaker = int(now / TURN) % 2
        turned = int((now - 0.1) / TURN) % 2 != speaker
        key = np.zeros(len(rows), dtype=bool)
        for at, (target, before) in enumerate(zip(estimates.target.tolist(), self.allocations, strict=True)):
            every = CONTENT if before.content else LIMITED
            if not turned and target >= before.used and (self.tick + at) % every:
                continue
            after = allocate(now, target, 2, WANTS[speaker], before, speaking=1)
            self.allocations[at] = after
            levels = tuple(after.slots[slot].level for slot in range(2))
            key[at] = levels != self.shown[at]
            self.decided[at].append((now, target, after))
            self.shown[at] = levels  # type: ignore[assignment]
        used = np.array([one.used for one in self.allocations])
        sound = np.minimum(52_000.0, used)
        return Traffic(sound, np.maximum(used - sound, 0.0), key, estimates.pace, estimates.probes), estimates
