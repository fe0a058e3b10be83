"""What holds of each viewer on whatever network: what is allotted fits, holds are kept, what was paused comes back."""

from __future__ import annotations

from functools import cache

import numpy as np
from vardrum.sfu.allocation import FRAMES_HOLD, HOLD, PAUSE_AFTER_ASKING, RESUME_HOLD

from .allocated import LIMITED, Allocating
from .drive import History, drive
from .link import TICK, Links
from .networks import anything
from .settings import AGAIN, MINUTES, SEED

SECONDS = 300
# The estimate alone is simulated for all the minutes (`test_random_networks.py`); allocations cost ten times as much.
LINKS = max(MINUTES // 40 * 60 // SECONDS, 1)
# A picture that fits with so much room has to be back so long after the way has.
ROOMY, BACK = 450_000.0, 25.0


@cache
def simulated() -> tuple[History, Allocating]:
    network = anything(SEED + 1, SECONDS, LINKS)
    policy = Allocating(network)
    return drive(Links(network, SEED + 1), policy), policy


def test_no_more_is_allotted_than_fits_for_longer_than_a_pause_takes() -> None:
    _, policy = simulated()
    for link, decisions in enumerate(policy.decided):
        over: float | None = None
        for now, target, allocation in decisions:
            pictures = any(past.level >= 0 for past in allocation.slots.values())
            if allocation.used > target + 1 and pictures:
                over = now if over is None else over
                assert now - over <= PAUSE_AFTER_ASKING + LIMITED * TICK, f"link {link} at {now:.1f} ({AGAIN})"
            else:
                over = None


def test_no_layer_goes_up_sooner_after_it_went_down_than_its_hold() -> None:
    _, policy = simulated()
    upgrades = 0
    for link, decisions in enumerate(policy.decided):
        before: dict[int, tuple[int, float]] = {}
        for now, _, allocation in decisions:
            for slot, past in allocation.slots.items():
                level, lowered = before.get(slot, (past.level, -np.inf))
                # Who begins to speak takes another's place at once, which is no upgrade.
                if past.level > max(level, 0) and allocation.swapped != now:
                    upgrades += 1
                    hold = HOLD if past.level > 1 else FRAMES_HOLD if level == 0 else RESUME_HOLD
                    assert now - lowered >= hold - 0.01, f"link {link}, slot {slot} at {now:.1f} ({AGAIN})"
                before[slot] = (past.level, past.lowered)
    assert upgrades > LINKS, "it went up at all"


def test_a_paused_picture_comes_back_when_there_is_room_again() -> None:
    history, policy = simulated()
    waiting = 0
    for link, decisions in enumerate(policy.decided):
        roomy = history.capacity[:, link] >= ROOMY
        pauses: list[tuple[float, float]] = []
        since: float | None = None
        for now, _, allocation in decisions:
            paused = all(past.level < 0 for past in allocation.slots.values())
            if paused and since is None:
                since = now
            elif not paused and since is not None:
                pauses.append((since, now))
                since = None
        if since is not None:
            pauses.append((since, float(SECONDS)))
        for began, ended in pauses:
            ticks = roomy[round(began / TICK) : round(ended / TICK)]
            # The longest run of room in a pause.
            edges = np.flatnonzero(np.diff(np.concatenate([[0], ticks.astype(np.int8), [0]])))
            longest = float((edges[1::2] - edges[::2]).max() * TICK) if len(edges) else 0.0
            waiting += len(ticks) > 0
            assert longest <= BACK, f"link {link} paused from {began:.0f} to {ended:.0f} ({AGAIN})"
    assert waiting > LINKS // 2, "pictures were paused at all"


def test_sound_is_never_lost_to_pictures() -> None:
    history, _ = simulated()
    alive = history.capacity > 100_000
    dropped = float(history.dropped[alive].sum() / history.offered[alive].sum())
    assert dropped < 0.02, f"{dropped:.3f} dropped in queues ({AGAIN})"
