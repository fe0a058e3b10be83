"""Real browsers make the contract's offer, and take our answer, also to an ICE restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vardrum.sfu import sdp
from vardrum.sfu.types import PeerOffer, SlotSsrc

SCRIPT = Path(__file__).parent / "offer.js"


def answer(read: PeerOffer, pairs: int, version: int = 1) -> str:
    """An answer with this many pairs of slots and the screen's; what else was offered stays inactive."""
    audio = [SlotSsrc(mid, 1000 + i, None, f"pair{i}") for i, mid in enumerate(read.audio_slots[:pairs])]
    ids = [f"pair{i}" for i in range(pairs)] + ["screen"]
    video = [SlotSsrc(mid, 2000 + i, 3000 + i, ids[i]) for i, mid in enumerate(read.video_slots[: pairs + 1])]
    return sdp.write_answer(
        read,
        ufrag=f"Serv{version}",
        pwd="p" * 24,
        fingerprint=("sha-256", ":".join(["AB"] * 32)),
        candidates=[("127.0.0.1", 9)],
        slots=[*audio, *video],
        cname="vardrum",
        version=version,
    )


@pytest.mark.parametrize("tracks", [True, False], ids=["with devices", "empty"])
@pytest.mark.parametrize("layers", [True, False], ids=["layers", "one encoding"])
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_a_browser_takes_the_answer(browsers: Any, blank: str, browser: str, layers: bool, tracks: bool) -> None:
    page = await getattr(browsers, browser)("someone")
    await page.tab.goto(blank)
    await page.tab.evaluate(f"(() => {{ {SCRIPT.read_text(encoding='utf-8')} }})()")
    wanted = {"audio": 7, "video": 8, "layers": layers, "tracks": tracks}
    read = sdp.read_offer(await page.tab.evaluate(f"vardrumOffer({json.dumps(wanted)})"), max_slots=7)
    assert read.camera.rids == read.screen.rids == (("l", "h") if layers else ())
    assert (len(read.audio_slots), len(read.video_slots)) == (7, 8)

    taken = await page.tab.evaluate(f"vardrumAnswer({json.dumps(answer(read, 5))})")
    filled = {*read.audio_slots[:5], *read.video_slots[:6]}
    directions = dict(taken["directions"])
    assert [directions[mid] for mid in ("0", "1", "2")] == ["sendonly"] * 3
    for mid in (*read.audio_slots, *read.video_slots):
        assert directions[mid] == ("recvonly" if mid in filled else "inactive")
    for i in range(5):
        assert taken["streams"][read.audio_slots[i]] == taken["streams"][read.video_slots[i]] == [f"pair{i}"]
    assert taken["streams"][read.video_slots[5]] == ["screen"]
    assert taken["encodings"] == [["l", "h"] if layers else [None]] * 2
    assert taken["codecs"][0][0].lower() == "audio/opus"
    assert taken["codecs"][1][0].lower() == "video/vp8"

    restart = await page.tab.evaluate("vardrumRestart()")
    again = sdp.read_restart(restart, read)
    assert (again.ufrag, again.pwd) != (read.ufrag, read.pwd)
    once_more = await page.tab.evaluate(f"vardrumAnswer({json.dumps(answer(again, 5, version=2))})")
    assert once_more["directions"] == taken["directions"]
    assert once_more["encodings"] == taken["encodings"]
