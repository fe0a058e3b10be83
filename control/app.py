"""One process put together: store, rules, media, websocket, API and pages, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, Self

import structlog
from aiohttp import web

from ..sfu.types import Listener, MediaSettings
from .api.events import EventView
from .api.health import Health
from .api.oidc import Callback
from .api.patience import Patience
from .api.proxies import Proxies
from .api.server import PUBLIC_URL, Api, refusals
from .audit.export import Export
from .folder import InUse, own
from .keyring import BadKeyring, Keyring
from .keyring import load as load_keyring
from .live.live import Live
from .metrics import Metrics
from .notify.outbox import Outbox
from .notify.ways import ways
from .oidc.fetch import Fetch
from .oidc.logins import Logins
from .pages import Pages
from .retention import Kept, Retention
from .secret import BadFile, Clock, Random
from .secret import now as wall_clock
from .settings import Settings, split_address
from .signaling import Signaling
from .store.store import Busy, Store, Unusable
from .tls import BadPair, Served
from .turn import Turn
from .visits.messages import Channel
from .visits.refused import Refused
from .visits.scene import Policy
from .visits.service import Visits
from .visits.staff import Staff
from .webhooks.delivering import Deliverer
from .webhooks.sending import Sender
from .webhooks.service import Webhooks

log = structlog.get_logger(__name__)

TICK = 1.0
# How often a server that is to stop looks whether visits still go on.
LOOK = 0.25
# What is still being answered when the server stops gets so long, in seconds.
SHUTDOWN = 2.0


class CannotStart(Exception):
    """The message says what to change."""


class Node(Protocol):
    """What the application itself asks of media; the rest is `control.live`'s."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def ports(self) -> list[int]: ...

    @property
    def failed(self) -> asyncio.Event: ...

    def metrics(self) -> Any: ...


MakeNode = Callable[[MediaSettings, Listener], Any]


class App:
    """A running installation: `async with App(settings) as app`.

    Attributes:
        url: what HTTP is reached by on this machine.
        public_url: what links start with.
        metrics_url: where /metrics is; None where it is nowhere.
        keyring: the installation's own keys.
        outbox: sends messages to people.
        media_ports: the UDP ports of media, one per shard; empty without media.
        failed: set once media can't go on, or another server has taken the database (`store.taken`): this process
            should end with an error, so that another takes over.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        make_node: MakeNode | None = None,
        clock: Clock = wall_clock,
        random: Random = os.urandom,
    ) -> None:
        """`make_node` makes the media node; without one there is no media and no websocket."""
        self.settings = settings
        self.url = self.public_url = ""
        self.metrics_url: str | None = None
        self.media_ports: list[int] = []
        self.failed = asyncio.Event()
        self.store: Store
        self.visits: Visits
        self.webhooks: Webhooks
        self.keyring: Keyring
        self.staff: Staff
        self.logins: Logins
        self.outbox: Outbox
        self._make_node = make_node
        self._proxies = Proxies(settings.http.trusted_proxies)
        self._clock = clock
        self._random = random
        self._live: Live | None = None
        self._stopping = False
        # When the heads of the audit trail were last exported, seconds since 1970.
        self._exported = 0.0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await self._stack.aclose()

    async def drain(self) -> None:
        """Takes no new visits, says so to who is here, and returns when none goes on, or after `drain.seconds`.

        Until then everything else is as ever; who is still in a visit when the server ends goes on with the next one.
        """
        self._stopping = True
        live, seconds = self._live, self.settings.drain.seconds
        if live is None or not live.visits or not seconds:
            return
        log.info("stopping when visits have ended", visits=live.visits, seconds=seconds)
        live.stopping(self._clock() + timedelta(seconds=seconds))
        until = time.monotonic() + seconds
        while live.visits:
            if time.monotonic() >= until:
                break
            await asyncio.sleep(LOOK)
        log.info("stopping now", visits=live.visits)

    async def _start(self) -> None:
        settings, stack = self.settings, self._stack
        try:
            own(settings.data, stack)
        except InUse as error:
            raise CannotStart(f"data: {error}") from None
        certificate = self._certificate()
        listener = _listen(settings.http.host, settings.http.port, "http.host and http.port")
        stack.callback(listener.close)
        self.url = _url(listener, "http" if certificate is None else "https")
        self.public_url = settings.public_url or self.url
        try:
            # A file that somebody has named is theirs to make: a typing error must not begin with other keys.
            self.keyring = load_keyring(settings.keyring_file(), create=not settings.keyring, random=self._random)
        except BadKeyring as error:
            raise CannotStart(f"keyring: {error}") from None
        try:
            self.store = await stack.enter_async_context(Store(settings.database, serves=True))
        except Unusable as error:
            raise CannotStart(f"{settings.database_setting}: {error}") from None
        await self._start_export()
        kept = Kept(
            telemetry=timedelta(days=settings.retention.telemetry_days),
            rooms=timedelta(days=settings.retention.rooms_days),
            statistics=timedelta(days=settings.retention.statistics_days),
            audit_years=settings.retention.audit_years,
        )
        self.retention = Retention(self.store, kept, self._clock, self._random)
        try:
            senders, turn = ways(settings), settings.turn_server()
        except BadFile as error:
            raise CannotStart(str(error)) from None
        policy = Policy(
            public_url=self.public_url,
            open_before=timedelta(minutes=settings.rooms.open_before_minutes),
            close_after=timedelta(minutes=settings.rooms.close_after_minutes),
            hosts_by_link=settings.hosts.by_link,
            audit_kept=kept.audit,
            read_again=timedelta(minutes=settings.audit.read_again_minutes),
            functions=frozenset(settings.care_units.functions),
            email=Channel.EMAIL in senders,
            sms=Channel.SMS in senders,
            remind_before=timedelta(minutes=settings.messages.remind_before_minutes),
        )
        self.visits = Visits(self.store, policy, self.keyring, clock=self._clock, random=self._random)
        await self.visits.start()
        self.staff = Staff(self.store, self._clock, self._random)
        self.logins = Logins(
            self.store,
            self.visits,
            self.staff,
            settings.tenants,
            await stack.enter_async_context(Fetch()),
            public_url=self.public_url,
            clock=self._clock,
            random=self._random,
        )
        metrics = Metrics(version())
        gauges = ("writers", "away", "unwritable")
        metrics.add("database", self.store.metrics, gauges=gauges, collectors=self.store.collectors)
        exported = "exported_timestamp_seconds"
        metrics.add("audit", lambda: {exported: self._exported}, gauges=(exported,))
        if certificate is not None:
            metrics.add("certificate", certificate.metrics, gauges=("expires_timestamp_seconds", "refused"))
            stack.push_async_callback(_cancel, asyncio.create_task(certificate.watch()))
        await self._start_webhooks(metrics)
        web_app = self._web_app(metrics)
        if self._make_node is not None:
            await self._start_media(web_app, metrics, self._make_node, turn)
        self.outbox = outbox = Outbox(self.visits, senders)
        await outbox.start()
        stack.push_async_callback(outbox.stop)
        if senders:
            metrics.add("messages", outbox.metrics, gauges=outbox.gauges)
        for work in (self._tick(), self._end_when_taken()):
            stack.push_async_callback(_cancel, asyncio.create_task(work))
        if settings.metrics.listen:
            await self._serve_metrics(metrics)
        runner = web.AppRunner(web_app, access_log=None, shutdown_timeout=SHUTDOWN)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        context = None if certificate is None else certificate.context
        await web.SockSite(runner, listener, ssl_context=context).start()

    def _certificate(self) -> Served | None:
        files = self.settings.certificate_files()
        try:
            return None if files is None else Served(*files, self._clock)
        except BadPair as error:
            raise CannotStart(str(error)) from None

    async def _start_export(self) -> None:
        export = Export(self.store, self.keyring, self.settings.audit_folder(), self._clock)
        try:
            export.prepare()
        except OSError as error:
            raise CannotStart(f"audit.export: can't use {self.settings.audit_folder()}: {error.strerror}") from None
        # Last of all that writes: nothing comes after the head that is signed as the server stops.
        self._stack.push_async_callback(_tried, export.run)
        self._stack.push_async_callback(_cancel, asyncio.create_task(self._export(export)))

    async def _export(self, export: Export) -> None:
        while True:
            if await _tried(export.run):
                self._exported = self._clock().timestamp()
            await asyncio.sleep(self.settings.audit.export_seconds)

    def _web_app(self, metrics: Metrics) -> web.Application:
        settings = self.settings
        app = web.Application(client_max_size=settings.http.max_body, middlewares=[metrics.middleware(), refusals])
        app[PUBLIC_URL] = self.public_url
        patience = Patience(settings.http.refused_per_minute, time.monotonic)
        remote = self._proxies.counted
        api = Api(
            self.store,
            self.visits,
            self.webhooks,
            logins=self.logins,
            staff=self.staff,
            public_url=self.public_url,
            patience=patience,
            clock=self._clock,
            random=self._random,
            remote=remote,
        )
        portals = {name: one.origins for name, one in settings.tenants.items()}
        pages = Pages(self.public_url, portals, self._proxies.secure)
        app.add_routes(api.routes())
        app.add_routes(Callback(self.logins, patience, remote).routes())
        app.add_routes(Health(self.store, self.public_url, version(), lambda: self._stopping).routes())
        app.add_routes(pages.routes())
        app.on_response_prepare.append(pages.protect)
        return app

    async def _start_webhooks(self, metrics: Metrics) -> None:
        settings = self.settings.webhooks
        try:
            sender = Sender(
                private=settings.allow_private,
                ca_file=Path(settings.ca_file) if settings.ca_file else None,
                timeout=settings.timeout_seconds,
                agent=f"Vardrum-Webhooks/{version()}",
            )
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "it holds no certificates"
            raise CannotStart(f"webhooks.ca_file: can't use {settings.ca_file}: {reason}") from None
        await self._stack.enter_async_context(sender)
        deliverer = Deliverer(
            self.store,
            self.keyring,
            sender,
            lambda one: EventView.of(one).model_dump_json().encode(),
            clock=self._clock,
            random=self._random,
        )
        self.webhooks = Webhooks(
            self.store,
            self.keyring,
            deliverer,
            private=settings.allow_private,
            clock=self._clock,
            random=self._random,
        )
        self.visits.subscribe(deliverer.happened)
        await deliverer.start()
        self._stack.push_async_callback(deliverer.stop)
        gauges = ("hooks", "failing", "disabled", "pending", "oldest_seconds")
        metrics.add("webhooks", deliverer.metrics, gauges=gauges, collectors=deliverer.collectors)

    async def _start_media(
        self, app: web.Application, metrics: Metrics, make_node: MakeNode, turn: Turn | None
    ) -> None:
        live = self._live = Live(self.visits, turn=turn, random=self._random)
        node = make_node(self.settings.media_settings(), live)
        try:
            await node.start()
        except Exception as error:
            where = f"{self.settings.media.ip} port {self.settings.media.port}"
            raise CannotStart(f"media.ip and media.port: can't use {where}: {error}") from error
        self._stack.push_async_callback(node.stop)
        self.media_ports = node.ports
        self.failed = node.failed
        live.node = node
        await live.start()
        # Before the node stops: clients are told to come back while their peers are still there.
        self._stack.push_async_callback(live.stop)

        async def close_websockets(_: web.Application) -> None:
            # The listener waits for its requests when it stops, and a websocket is one that never ends by itself.
            await live.stop()

        app.on_shutdown.append(close_websockets)
        gauges = (
            "peers",
            "rooms",
            "peer_memory_bytes",
            "shards",
            "shards_dead",
            "shard_overloaded",
            "shard_busy_ratio",
            "shard_peers",
            "pictures",
            "pictures_paused",
            "sound_peers",
        )
        labels = {"pictures": ("source", "layer"), "sound_peers": ("mode",)}
        metrics.add("engine", node.metrics, gauges=gauges, labels=labels)
        metrics.add(
            "live",
            live.metrics,
            gauges=("rooms", "websockets", "participants", "stopping"),
            labels={"participants": ("state",)},
            collectors=live.timings.all,
        )
        app.add_routes(Signaling(live, self.visits, [self.public_url], self._proxies.host).routes())

    async def _serve_metrics(self, metrics: Metrics) -> None:
        host, port = split_address(self.settings.metrics.listen)
        listener = _listen(host, port, "metrics.listen")
        self._stack.callback(listener.close)
        self.metrics_url = _url(listener, "http") + "/metrics"
        runner = web.AppRunner(metrics.app(), access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener).start()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.visits.tick()
            except Exception as error:
                # That the database is away, the store has said once.
                if not (isinstance(error, Refused) and error.name == "unavailable"):
                    log.exception("opening and closing rooms failed")
            try:
                await self.store.try_again()
                await self.retention.tick()
            except Busy:
                pass  # the store has said so
            except Exception:
                log.exception("forgetting in time failed")

    async def _end_when_taken(self) -> None:
        await self.store.taken.wait()
        self.failed.set()


def version() -> str:
    """Of the installed package."""
    return metadata.version("vardrum")


def _listen(host: str, port: int, key: str) -> socket.socket:
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(info[4][:2], family=info[0], backlog=1024)
    except OSError as error:
        raise CannotStart(f"{key}: can't listen on {host} port {port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - any address: this machine's own
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def _tried(export: Callable[[], Awaitable[None]]) -> bool:
    try:
        await export()
        return True
    except Busy:
        log.warning("the heads of the audit trail are exported later: the database has no time")
    except Exception:
        log.exception("the heads of the audit trail can't be exported")
    return False


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
