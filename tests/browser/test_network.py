"""The network that outages are tried in: it carries, it can be cut and mended, and its ends don't notice."""

from __future__ import annotations

import sys
from pathlib import Path

from vardrum.bench.network.namespaces import CLINIC, Network
from vardrum.bench.process import Process
from vardrum.tests.support.wait import wait_until

ASK = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=1).status)"


async def reaches(network: Network) -> bool:
    try:
        return "200" in await network.phone.run(sys.executable, "-c", ASK, f"http://{CLINIC}:8000/")
    except AssertionError:
        return False


async def test_a_cut_stops_everything_and_mending_brings_it_back(network: Network, tmp_path: Path) -> None:
    server = await Process.start(
        [*network.clinic.prefix, sys.executable, "-m", "http.server", "8000", "--bind", CLINIC, "-d", str(tmp_path)],
        log=tmp_path / "http.log",
    )
    try:
        await wait_until(lambda: reaches(network), deadline=10, what="the clinic from the phone")
        await network.cut()
        assert not await reaches(network)
        link = await network.phone.run("ip", "link", "show", "wire")
        assert "LOWER_UP" in link, "the phone must not see that the network beyond is gone"
        await network.mend()
        assert await reaches(network)
    finally:
        await server.kill()
