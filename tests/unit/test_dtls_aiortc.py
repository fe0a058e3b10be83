"""The private names of aiortc that sfu/dtls.py and sfu/sdp.py rely on; the version is pinned because of them."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path

import aiortc
from aiortc import rtcdtlstransport, sdp
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport, State
from vardrum.sfu.dtls import PROFILES, Certificate


def test_the_version_is_the_pinned_one() -> None:
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"aiortc=={version("aiortc")}"' in pyproject
    assert aiortc.__version__ == version("aiortc")


def test_the_certificate_makes_its_own_context_for_given_profiles() -> None:
    assert list(inspect.signature(RTCCertificate._create_ssl_context).parameters) == ["self", "srtp_profiles"]
    made = Certificate.generateCertificate()
    assert isinstance(made, Certificate), "generateCertificate makes the class that it is called on"
    assert made._create_ssl_context([profile for _, profile in PROFILES]) is not None
    name, value = made.fingerprint
    assert (name, len(value)) == ("sha-256", 95)


async def test_the_transport_has_the_steps_that_are_overridden_and_the_fields_that_are_read() -> None:
    names = ("_do_handshake", "_validate_peer_identity", "_setup_srtp", "_write_ssl", "_recv_next", "_set_role")
    for name in (*names, "_set_state"):
        assert callable(getattr(RTCDtlsTransport, name))
    for name in ("_do_handshake", "_write_ssl", "_recv_next"):
        assert inspect.iscoroutinefunction(getattr(RTCDtlsTransport, name))
    assert list(inspect.signature(RTCDtlsTransport._validate_peer_identity).parameters) == ["self", "remoteParameters"]

    class Nothing:
        role = "controlled"

    transport = RTCDtlsTransport(Nothing(), [RTCCertificate.generateCertificate()])  # type: ignore[arg-type]
    assert (transport._ssl, transport._task, transport.encrypted) == (None, None, False)
    assert isinstance(transport._srtp_profiles, list)
    transport._set_role("server")
    assert transport._role == "server"
    assert State.FAILED is rtcdtlstransport.State.FAILED


def test_start_goes_through_the_steps_in_this_order() -> None:
    source = inspect.getsource(RTCDtlsTransport.start)
    steps = ["_do_handshake()", "_validate_peer_identity(", "_setup_srtp()", "State.CONNECTED", "self._task ="]
    places = [source.index(step) for step in steps]
    assert places == sorted(places)
    assert "self.transport._recv()" in inspect.getsource(RTCDtlsTransport._recv_next)


def test_the_descriptions_that_the_parser_gives_have_the_fields_that_are_read() -> None:
    media = sdp.MediaDescription("audio", 9, "UDP/TLS/RTP/SAVPF", [111])
    fields = ("kind", "profile", "fmt", "rtp", "direction", "rtcp_mux", "ice", "dtls", "ssrc", "ssrc_group")
    for name in fields:
        assert hasattr(media, name)
    assert hasattr(media.rtp, "muxId")
    assert hasattr(media.rtp, "codecs")
