"""Asks a TURN server as clients do, from wherever this is run (`Namespace.run`):

python -m vardrum.tests.support.turn_client JSON

JSON is a list of attempts, and so is what it prints. An attempt says `server` (address and port), `over` (udp, tcp or
tls), `from` (the address it comes from), where it has any `username` and `password`, and what to try: see `attempt`.
For TLS there are also `name`, which it asks for, and `authority`, a file to trust.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

from aioice import stun, turn

DEADLINE = 20.0


class Echo(asyncio.DatagramProtocol):
    """A peer that sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Receiver(asyncio.DatagramProtocol):
    """What comes back to the client."""

    def __init__(self) -> None:
        self.got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.got.done():
            self.got.set_result(data)


def trusting(said: dict[str, Any]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=said["authority"])


async def connected(said: dict[str, Any]) -> Any:
    """A client of aioice's, that has asked nothing yet."""
    loop = asyncio.get_running_loop()
    server, own = tuple(said["server"]), (said["from"], 0)
    given = (server, said.get("username"), said.get("password"), 600, 500)
    if said["over"] == "udp":
        return (
            await loop.create_datagram_endpoint(
                lambda: turn.TurnClientUdpProtocol(*given), local_addr=own, remote_addr=server
            )
        )[1]
    tls = {"ssl": trusting(said), "server_hostname": said["name"]} if said["over"] == "tls" else {}
    return (await loop.create_connection(lambda: turn.TurnClientTcpProtocol(*given), *server, local_addr=own, **tls))[1]


async def code_of(asked: Any) -> int:
    """The error that the server answers with; 0 where it agrees."""
    try:
        await asked
    except stun.TransactionFailed as error:
        return int(error.response.error_code or -1)
    return 0


async def attempt(said: dict[str, Any]) -> dict[str, Any]:
    """One client's attempt.

    Returns:
        `error`: of its Allocate, 0 where it has a relay; then also `relayed`, the relay's address, and of what was
        asked for: `peers`, {address: error} of a channel to each; `echoed`, whether a peer at `echo` (address and port)
        got its packet and answered; `refreshed`, the error when it was refreshed at the time `refresh_at`; `again`, the
        error of another client with the same credential then. `tcp_relay`: the error when it asked for one that
        connects over TCP. `certificate`: that of TLS, in hexadecimal digits. `attributes`: names of those of the first
        answer.

    With `keep` its allocation stays until all attempts have been made.
    """
    client = await connected(said)
    found: dict[str, Any] = {}
    if said["over"] == "tls":
        found["certificate"] = client.transport.get_extra_info("ssl_object").getpeercert(True).hex()
    if "attributes" in said:
        request = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)
        request.attributes["REQUESTED-TRANSPORT"] = turn.UDP_TRANSPORT
        try:
            await client.request(request)
        except stun.TransactionFailed as error:
            found["attributes"] = sorted(error.response.attributes)
    if "tcp_relay" in said:
        request = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)
        request.attributes["REQUESTED-TRANSPORT"] = turn.TCP_TRANSPORT
        found["tcp_relay"] = await code_of(client.request_with_retry(request))
    found["error"] = await code_of(client.connect())
    if found["error"] == 0:
        found["relayed"] = client.relayed_address[0]
        await use(client, said, found)
    if not said.get("keep"):
        if found["error"] == 0:
            await client.delete()
        client.transport.close()
    return found


async def use(client: Any, said: dict[str, Any], found: dict[str, Any]) -> None:
    channels = iter(range(0x4100, 0x4200))
    for peer in said.get("peers", []):
        found.setdefault("peers", {})[peer] = await code_of(client.channel_bind(next(channels), (peer, 40_000)))
    if "echo" in said:
        peer = tuple(said["echo"])
        echo, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=peer)
        client.receiver = receiver = Receiver()
        await client.send_data(b"is anybody there", peer)
        async with asyncio.timeout(DEADLINE):
            found["echoed"] = await receiver.got == b"is anybody there"
        echo.close()
    if "refresh_at" in said:
        # A credential ends at a time of the real clock.
        await asyncio.sleep(max(said["refresh_at"] - time.time(), 0))
        request = stun.Message(stun.Method.REFRESH, stun.Class.REQUEST)
        request.attributes["LIFETIME"] = 600
        found["refreshed"] = await code_of(client.request_with_retry(request))
        other = await connected(said)
        found["again"] = await code_of(other.connect())
        other.transport.close()


async def page(said: dict[str, Any]) -> dict[str, Any]:
    """What HTTPS answers at `server` for the path `get`."""
    tls = trusting(said)
    tls.check_hostname = said["name"] is not None
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(
            *said["server"], local_addr=(said["from"], 0), ssl=tls, server_hostname=said["name"] or ""
        )
        writer.write(f"GET {said['get']} HTTP/1.0\r\n\r\n".encode())
        body = (await reader.read()).decode()
        writer.close()
    return {"body": body.partition("\r\n\r\n")[2]}


async def main(attempts: list[dict[str, Any]]) -> None:
    async with asyncio.timeout(6 * DEADLINE):
        found = [await (page(one) if "get" in one else attempt(one)) for one in attempts]
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
