"""Which picture codec each publisher is asked for: one that all who may see them decode well (CONTRACT, "Answer")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..codecs import catalogue
from .devices import Limits
from .types import PeerOffer, Section


def sends(offer: PeerOffer) -> tuple[str, ...]:
    """The codecs that a peer can send its camera in, as in `codecs.catalogue`; unasked it sends the first.

    A publisher is asked for a MIME type, which means the first with that name: H.264 in one packetization mode.
    """
    found: dict[str, str] = {}
    for codec in _codecs(offer, offer.sections[1]):
        found.setdefault(catalogue.BY_NAME[codec].mime, codec)
    return tuple(found.values())


def decodes(offer: PeerOffer) -> frozenset[str] | None:
    """The codecs that any of a peer's slots takes; None for one without slots, who is sent none."""
    slots = [set(_codecs(offer, section)) for section in offer.sections[3:] if section.kind == "video"]
    return frozenset(set.intersection(*slots)) if slots else None


def choose(
    sendable: Sequence[str], viewers: Iterable[Collection[str] | None], limits: Collection[Limits] = ()
) -> str | None:
    """The codec that most of the viewers decode, the fewest of their devices should avoid, and the most prefer.

    Of several the first that is sendable; None where none is.

    Args:
        sendable: as `sends` has them.
        viewers: as `decodes` has them, of everyone who may see the publisher.
        limits: of those viewers' devices.
    """
    seen = [codecs for codecs in viewers if codecs is not None]

    def cost(codec: str) -> tuple[int, int, int]:
        return (
            sum(codec not in codecs for codecs in seen),
            sum(codec in device.avoid for device in limits),
            sum(codec not in device.efficient for device in limits if device.efficient),
        )

    return min(sendable, key=cost, default=None)


def _codecs(offer: PeerOffer, section: Section) -> list[str]:
    names = {payload.payload_type: payload.codec for payload in offer.payloads if payload.apt is None}
    return [names[one.payload_type] for one in section.formats if one.payload_type in names]
