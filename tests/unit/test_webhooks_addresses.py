"""Where webhooks may lead: an allow-list of what is global, and of what is private where that is set."""

from __future__ import annotations

import pytest
from vardrum.control.webhooks.addresses import check_url, may_connect

GLOBAL = ["8.8.8.8", "100.63.255.255", "172.15.0.1", "172.32.0.1", "192.167.0.1", "2a00:1450::1", "2600::"]
PRIVATE = [
    "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "::1", "fc00::1", "fdff::1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::2", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
    "3fff::1", "5f00::1", "fe80::1", "fe80::1%lo", "2a00:1450::1%lo", "fec0::1", "ff02::1", "ff0e::1",
    "127.1", "2130706433", "localhost", "",
]  # fmt: skip


@pytest.mark.parametrize("address", GLOBAL)
def test_a_global_address_is_allowed(address: str) -> None:
    assert may_connect(address, private=False)
    assert may_connect(address, private=True)
    assert not may_connect(address, private=True, plain=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_needs_the_setting(address: str) -> None:
    assert not may_connect(address, private=False)
    assert may_connect(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_an_address_that_leads_elsewhere_than_it_says_is_never_allowed(address: str) -> None:
    assert not may_connect(address, private=False)
    assert not may_connect(address, private=True)


@pytest.mark.parametrize(("address", "allowed"), [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False)])
def test_without_tls_only_this_machine_is_reached(address: str, allowed: bool) -> None:
    assert may_connect(address, private=True, plain=True) is allowed
    assert not may_connect(address, private=False, plain=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://portal.region.example/hooks",
        "https://portal.region.example:8443/hooks?tenant=1&x=a@b",
        "https://xn--vrd-qla.example/",
        "https://8.8.8.8/",
        "https://[2a00:1450::1]:8443/",
    ],
)
def test_a_url_of_the_open_net_is_taken(url: str) -> None:
    assert str(check_url(url, private=False)) == url


@pytest.mark.parametrize("url", ["http://localhost:8000/", "http://127.0.0.1/", "http://[::1]:1/", "https://10.0.0.1/"])
def test_a_private_url_is_taken_where_that_is_set(url: str) -> None:
    check_url(url, private=True)
    with pytest.raises(ValueError, match=r"expected https|isn't allowed"):
        check_url(url, private=False)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://portal.example/", "https://169.254.169.254/"])
def test_the_setting_allows_no_more_than_it_says(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected https|isn't allowed"):
        check_url(url, private=True)
