"""A room with peers as Python knows them, without an engine: what is decided of them needs none."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from vardrum.sfu.devices import DeviceState
from vardrum.sfu.engine import CAMERA, MICROPHONE, Engine, Layer
from vardrum.sfu.peer import Peer, new_slots
from vardrum.sfu.place import Place
from vardrum.sfu.publishing import Publishing
from vardrum.sfu.room import Room
from vardrum.sfu.sdp import read_offer
from vardrum.sfu.send import camera_for
from vardrum.sfu.shards import Shard
from vardrum.sfu.types import Device, Person

OFFER = Path(__file__).parents[1] / "unit" / "data" / "sdp" / "offer-chromium.sdp"
NOW = 100.0
HEIGHTS = (240, 360)


def place(*people: Person, now: float = NOW, devices: dict[str, Device] | None = None) -> Place:
    """A room of these people, each with a peer that has sent sound and both layers of a camera for some seconds."""
    found = Place(Room(len(people) + 1))
    found.room.set_people(people)
    for number, person in enumerate(people, start=1):
        device = DeviceState((devices or {}).get(person.id, Device()), now)
        offer = read_offer(OFFER.read_bytes().decode("ascii"))
        audio, video = new_slots(offer, len(people))
        shard = Shard(0, cast("Engine", None))
        publishing = Publishing(camera_for(device.said_class), now)
        publishing.offered(now, ("l", "h"), ("l", "h"))
        peer = Peer("room", person.id, number, shard, offer, audio, video, now - 10, device, publishing)
        peer.on_layer(Layer(number, MICROPHONE, 0, True, 0, 0), now - 10)
        for layer, height in enumerate(HEIGHTS):
            peer.on_layer(Layer(number, CAMERA, layer, True, height * 16 // 9, height), now - 10)
        found.peers[person.id] = peer
    return found
