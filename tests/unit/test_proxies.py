"""Whose word counts for who a client is."""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import ip_network
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from vardrum.control.api.proxies import Proxies

PROXIES = Proxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1")])


def request(peer: str | None, headers: Iterable[tuple[str, str]] = ()) -> web.Request:
    transport = mock.Mock()
    transport.get_extra_info = {"peername": (peer, 1) if peer else None}.get
    return make_mocked_request("GET", "/", headers=CIMultiDict([("Host", "us"), *headers]), transport=transport)


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),  # nobody whom we trust
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),  # forged before it came to the proxy
        ("10.1.1.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1, 10.2.2.2, 10.3.3.3"], "198.51.100.1"),  # two proxies behind one another
        ("10.1.1.1", ["10.2.2.2,10.3.3.3"], "10.2.2.2"),
        ("10.1.1.1", ["198.51.100.1, unknown"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1, 10.2.2.2, "], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.1.1", ["[2001:db8::7]:4711"], "2001:db8::/64"),
        ("10.1.1.1", ["2001:db8:0:0:1::7"], "2001:db8::/64"),
        ("2001:db8:0:1::5", [], "2001:db8:0:1::/64"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.1.1", ["::ffff:198.51.100.1"], "198.51.100.1"),  # a listener of both families
        ("10.1.1.1", [", ".join(["203.0.113.9"] + ["10.2.2.2"] * 5000)], "10.2.2.2"),
        ("10.1.1.1", ["9" * 8000], "10.1.1.1"),
        ("10.1.1.1", ["١٩٨.51.100.1"], "10.1.1.1"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy_is_the_client(
    peer: str | None, said: list[str], client: str
) -> None:
    assert PROXIES.counted(request(peer, [("X-Forwarded-For", one) for one in said])) == client


def test_nobody_is_trusted_unless_the_operator_says_so() -> None:
    headers = [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "elsewhere")]
    said = request("127.0.0.1", headers)
    nobody = Proxies([])
    assert (nobody.counted(said), nobody.secure(said), nobody.host(said)) == ("127.0.0.1", False, "us")
    assert (PROXIES.counted(said), PROXIES.secure(said), PROXIES.host(said)) == ("1.1.1.1", True, "elsewhere")
    foreign = request("192.0.2.1", headers)
    assert (PROXIES.secure(foreign), PROXIES.host(foreign)) == (False, "us")


def test_what_the_proxy_has_put_last_counts() -> None:
    said = request("10.1.1.1", [("X-Forwarded-Proto", "https, http"), ("X-Forwarded-Host", "a, b")])
    assert (PROXIES.secure(said), PROXIES.host(said)) == (False, "b")
    assert len(PROXIES.host(request("10.1.1.1", [("X-Forwarded-Host", "a" * 8000)]))) < 300


def test_whatever_is_said_somebody_is_counted() -> None:
    chance = random.Random(7)
    for _ in range(200):
        said = "".join(chance.choices("0123456789.:,[]% afx", k=chance.randrange(60)))
        assert PROXIES.counted(request("10.1.1.1", [("X-Forwarded-For", said)]))
