"""What the comparison with other servers and the churn conclude from what they measure, and a room in a real Janus."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from vardrum.bench import description
from vardrum.bench.bots import Sends, hears
from vardrum.bench.churn import Samples
from vardrum.bench.native_bots import NativeBots, build
from vardrum.bench.peers.island import Island
from vardrum.bench.peers.janus import Janus

OFFER = """v=0
m=video 9 UDP/TLS/RTP/SAVPF 96 97
a=ice-ufrag:abcd
a=ice-pwd:efgh
a=fingerprint:sha-256 00:11
a=setup:actpass
a=mid:0
a=sendonly
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=extmap:3/sendonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=ssrc:7 cname:x
a=ssrc-group:FID 8 9
a=ssrc:8 cname:x
a=candidate:1 1 tcp 2015363327 192.0.2.2 9 typ host tcptype passive
a=candidate:2 1 udp 2015363327 192.0.2.3 36748 typ host
"""


def test_what_counts_in_a_servers_sdp_is_read() -> None:
    remote = description.read(OFFER)
    assert (remote.address, remote.fingerprint) == ("192.0.2.3:36748", "00:11")
    assert remote.credentials == {"ufrag": "abcd", "pwd": "efgh"}
    assert remote.extensions == {"transport": 3}
    assert remote.lines[0].repairs == {96: 97}
    assert hears(remote) == [{"ssrc": 8, "rtx_ssrc": 9, "sound": False}]


def test_only_what_rises_after_the_warm_up_counts() -> None:
    samples = Samples()
    for at in range(100):
        samples.rows.append((float(at), min(at, 20) * 1e6 + 1e8, at * 1e3, 30.0 + at % 2, 6.0, 9.0))
    assert abs(samples.rise("rss", 20.0)) < 1
    assert samples.rise("engine", 20.0) == pytest.approx(79e3)
    assert abs(samples.rise("fds", 20.0)) < 0.1


@pytest.mark.skipif(shutil.which("janus") is None or os.geteuid() != 0, reason="needs the package `janus`, as root")
async def test_the_same_bots_meet_in_janus(tmp_path: Path) -> None:
    async with Island() as island:
        native = NativeBots()
        async with await native.start(build(), prefix=island.prefix), Janus(tmp_path, island.prefix) as janus:
            assert "libsrtp2" in janus.libsrtp
            senders = await janus.visit(native, 3, Sends(bitrate=500_000, rate=20, packet=1050))
            for _ in range(20):
                counts = (await native.next_figures()).counts
                if counts["pictures"] > 100:
                    break
            assert counts["connected"] == 2 * len(senders)
            assert counts["pictures"] > 100
            assert (counts["duplicates"], counts["strange"]) == (0, 0)
        assert not native.problems
