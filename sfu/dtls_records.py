"""DTLS 1.2 records of a client (RFC 6347, section 4): which of them may reach OpenSSL.

Anyone who knows a peer's address and port can forge a datagram before keys exist, and OpenSSL ends a handshake for
good at the first that it doesn't like. So only what an honest client can send at that point passes: a whole record,
of version 1.2 (1.0 on a first ClientHello), epoch 0 or 1; in epoch 0 only the four handshake messages of a client,
each under its own sequence number, and ChangeCipherSpec. An epoch-0 alert proves nothing, and never passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
HEADER = 13
MAX_DATAGRAM = 2048  # more than any path's MTU
MAX_MESSAGE = 16_384  # a ClientHello with ML-KEM has 1,700 bytes, a certificate chain of one 600

# What a client sends in epoch 0, and its message_seq: no HelloRequest, no cookie, and always a certificate.
_MESSAGE_SEQUENCE = {1: 0, 11: 1, 16: 2, 15: 3}  # ClientHello, Certificate, ClientKeyExchange, CertificateVerify
_CLIENT_HELLO = 1


@dataclass(frozen=True)
class Record:
    """One record, whole and admissible.

    Attributes:
        data: with its header.
        client_hello: the length of the message, where the record holds a ClientHello or a part of it; else 0.
    """

    data: bytes
    content_type: int
    epoch: int
    client_hello: int = 0


def records(datagram: bytes) -> Iterator[Record | str]:
    """The records of a datagram, in order; instead of one that may not pass, the name of the reason.

    What follows a record that isn't whole has no place to begin, and is dropped with it.
    """
    if not datagram or len(datagram) > MAX_DATAGRAM:
        yield "dtls-malformed"
        return
    at = 0
    while at < len(datagram):
        end = at + HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
        if len(datagram) < at + HEADER or end > len(datagram) or end == at + HEADER:
            yield "dtls-malformed"
            return
        yield _judge(datagram[at:end])
        at = end


def _judge(data: bytes) -> Record | str:
    content_type, epoch = data[0], int.from_bytes(data[3:5], "big")
    if data[1:3] not in (b"\xfe\xfd", b"\xfe\xff") or epoch > 1:
        return "dtls-malformed"
    if epoch == 1:
        # No data channels: application data has no reader, and would only cost.
        return Record(data, content_type, 1) if content_type in (ALERT, HANDSHAKE) else "dtls-unexpected"
    body = data[HEADER:]
    if content_type == HANDSHAKE:
        types = _messages(body)
        length = int.from_bytes(body[1:4], "big") if types == {_CLIENT_HELLO} else 0
        return Record(data, HANDSHAKE, 0, length) if types else "dtls-malformed"
    if content_type == CHANGE_CIPHER_SPEC:
        return Record(data, CHANGE_CIPHER_SPEC, 0) if body == b"\x01" else "dtls-malformed"
    return "dtls-forgeable-alert" if content_type == ALERT else "dtls-unexpected"


def _messages(body: bytes) -> set[int]:
    """The types of the handshake messages or fragments in a record; empty if any of them can't be a client's."""
    types: set[int] = set()
    at = 0
    while at < len(body):
        header = body[at : at + 12]
        if len(header) < 12:
            return set()
        length, sequence = int.from_bytes(header[1:4], "big"), int.from_bytes(header[4:6], "big")
        offset, size = int.from_bytes(header[6:9], "big"), int.from_bytes(header[9:12], "big")
        end = at + 12 + size
        if _MESSAGE_SEQUENCE.get(header[0]) != sequence or not length or length > MAX_MESSAGE:
            return set()
        if offset + size > length or not size or end > len(body):
            return set()
        types.add(header[0])
        at = end
    return types


def packed(flight: bytes, mtu: int) -> Iterator[bytes]:
    """Datagrams of at most `mtu` bytes (or one record) out of the records that OpenSSL wrote, without plain alerts.

    A plain alert, made of a forged datagram, would end the honest client's handshake for it.
    """
    datagram = b""
    at = 0
    while at + HEADER <= len(flight):
        end = at + HEADER + int.from_bytes(flight[at + 11 : at + 13], "big")
        record = flight[at:end]
        at = end
        if record[0] == ALERT and record[3:5] == b"\x00\x00":
            continue
        if datagram and len(datagram) + len(record) > mtu:
            yield datagram
            datagram = b""
        datagram += record
    if datagram:
        yield datagram
