"""The command line: `vardrum serve`, `demo`, `doctor`, `backup`, `keys`, `keyring`, `tenants`, `audit`, `config`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import structlog
import uvloop

from . import demo as demo_visit
from . import keyring as keyring_file
from . import lan as lan_network
from . import logs, selfsigned, supervisor, tls
from . import settings as configuration
from .api.caller import Scope
from .app import App, CannotStart, MakeNode, version
from .audit import cli as audit_cli
from .audit.acting import OPERATOR, acts
from .backup.making import CannotBackUp, back_up
from .backup.restoring import CannotRestore
from .backup.restoring import restore as bring_back
from .doctor import examine as examination
from .doctor.finding import State
from .notify.ways import ways
from .secret import BadFile, now
from .settings import TENANT, BadSettings, Settings
from .store import keys as key_store
from .store.store import Busy, Store, Unusable

# New objects, and collections of the young and of the middle-aged, until the next older ones are looked at.
COLLECT_AFTER = (10_000, 10, 10)


class _Stop(click.ClickException):
    """A mistake of whoever typed it: one sentence, no stack trace."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


@click.group()
@click.version_option(package_name="vardrum")
def main() -> None:
    """Video visits for health care, on your own machines."""


config_option = click.option(
    "--config",
    envvar="VARDRUM_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file on top of the defaults; where missing, the one that the variable VARDRUM_CONFIG names.",
)
data_option = click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the database.")


def address_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where to listen."""
    for option in (
        click.option("--http", metavar="HOST:PORT", help="Where pages and the API are served."),
        click.option("--media-ip", metavar="IP", help="Address that media is bound to."),
        click.option(
            "--media-port",
            metavar="PORT",
            type=click.IntRange(0, 65535),
            help="First UDP port of media; one more for each further shard.",
        ),
    ):
        command = option(command)
    return command


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `serve` and `demo` share."""
    ready_file = click.option(
        "--ready-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where one JSON line is written once connections are accepted.",
    )
    return address_options(ready_file(command))


def _load(config: Path | None, overrides: dict[str, Any]) -> Settings:
    try:
        return configuration.load(config, overrides=overrides)
    except BadSettings as error:
        raise _Stop(str(error)) from None


def _overrides(data: Path | None, http: str | None, media_ip: str | None, media_port: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if data is not None:
        found["data"] = str(data)
    if http is not None:
        try:
            host, port = configuration.split_address(http)
        except ValueError as error:
            raise _Stop(f"command line: --http: {http!r} {error}") from None
        found["http"] = {"host": host, "port": port}
    media = {"ip": media_ip, "port": media_port}
    if any(value is not None for value in media.values()):
        found["media"] = {key: value for key, value in media.items() if value is not None}
    return found


@main.command()
@config_option
@data_option
@server_options
def serve(
    config: Path | None,
    data: Path | None,
    http: str | None,
    media_ip: str | None,
    media_port: int | None,
    ready_file: Path | None,
) -> None:
    """Serve visits until stopped."""
    settings = _load(config, _overrides(data, http, media_ip, media_port))
    logs.write_by(settings.log)

    async def started(app: App) -> None:
        _announce(app, ready_file, {})
        supervisor.ready()
        structlog.get_logger(__name__).info("serving", http=app.url, public_url=app.public_url)

    _run(settings, started)


@main.command()
@config_option
@server_options
@click.option(
    "--lan",
    is_flag=False,
    flag_value=lan_network.AUTO,
    metavar="[ADDRESS]",
    help="Serve the local network over TLS, for a real phone; ADDRESS where this machine has several.",
)
def demo(
    config: Path | None,
    http: str | None,
    media_ip: str | None,
    media_port: int | None,
    ready_file: Path | None,
    lan: str | None,
) -> None:
    """Serve one room to try, with throw-away data, and print its links."""
    try:
        address = "" if lan is None else lan_network.address(lan)
    except lan_network.NoAddress as error:
        raise _Stop(f"--lan: {error}") from None
    with tempfile.TemporaryDirectory(prefix="vardrum-demo-") as data:
        files = selfsigned.make(Path(data), address, now()) if address else None
        overrides = demo_visit.overrides(_overrides(Path(data), http, media_ip, media_port), address, files)
        settings = _load(config, overrides)
        logs.write_by(settings.log, level="warning")

        async def started(app: App) -> None:
            links = await demo_visit.prepare(app)
            _announce(app, ready_file, {**links, **({"certificate": str(files[0])} if files else {})})
            click.echo(demo_visit.text(links))
            if files is not None:
                click.echo(demo_visit.lan_text(links, app.media_ports))

        _run(settings, started)


def _announce(app: App, ready_file: Path | None, more: dict[str, Any]) -> None:
    if ready_file is None:
        return
    found = {"http": app.url, "public_url": app.public_url, "metrics": app.metrics_url, "media": app.media_ports}
    line = json.dumps({**found, **more})
    # Renamed into place, so that whoever waits for the file never reads half of it.
    unfinished = ready_file.with_name(ready_file.name + ".part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(line + "\n")
    unfinished.replace(ready_file)


def _run(settings: Settings, started: Callable[[App], Awaitable[None]]) -> None:
    async def run() -> None:
        stop, now = asyncio.Event(), asyncio.Event()
        app = App(settings, make_node=_node_maker())
        starting = asyncio.create_task(app.__aenter__())

        def asked() -> None:
            # Who asks twice won't wait.
            (now if stop.is_set() else stop).set()
            # Nobody is here yet to wait for, and a database that doesn't answer may keep it for long.
            starting.cancel()

        def asked_at_once() -> None:
            now.set()
            starting.cancel()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, asked)
        loop.add_signal_handler(signal.SIGINT, asked_at_once)
        try:
            await starting
        except asyncio.CancelledError:
            return
        async with contextlib.AsyncExitStack() as running:
            running.push_async_exit(app)
            await started(app)
            _leave_alone_what_is_there()
            at_once = [asyncio.create_task(end.wait()) for end in (now, app.failed)]
            await asyncio.wait([asyncio.create_task(stop.wait()), *at_once], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await asyncio.wait([asyncio.create_task(app.drain()), *at_once], return_when=asyncio.FIRST_COMPLETED)
        if app.store.taken.is_set():
            raise _Stop("database_url: another server serves this database since this one was cut off from it")
        if app.failed.is_set():
            raise _Stop("media: a thread has failed, and with it all visits on it; the log says how. Start again")

    # Each websocket and each media connection is a descriptor; shells allow 1024 where the system allows many more.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        uvloop.run(run())
    except CannotStart as error:
        raise _Stop(str(error)) from None


def _leave_alone_what_is_there() -> None:
    """Has the garbage collector look at what comes from now on only, and less often.

    All that was imported is some 160,000 objects that never go; to go through them again and again took a twentieth of
    the time, and stopped everything for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _node_maker() -> MakeNode:
    # Only servers need the engine; `vardrum keys` works without it.
    from ..sfu.node import Node

    return Node


@main.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@config_option
@data_option
def config_check(config: Path | None, data: Path | None) -> None:
    """Say whether `serve` would take this configuration."""
    settings = _load(config, _overrides(data, None, None, None))
    try:
        ways(settings)
        settings.turn_server()
        if (files := settings.certificate_files()) is not None:
            tls.load(*files)
    except (BadFile, tls.BadPair) as error:
        raise _Stop(str(error)) from None
    click.echo(json.dumps(settings.model_dump(mode="json"), indent=2))


@main.command()
@config_option
@data_option
@address_options
@click.option("--json", "for_machines", is_flag=True, help="As JSON, for who watches.")
def doctor(
    config: Path | None,
    data: Path | None,
    http: str | None,
    media_ip: str | None,
    media_port: int | None,
    for_machines: bool,
) -> None:
    """Say what is wrong with this installation, running or not, and what to do; exit status 1 when something is.

    Run it as root or as the server's user, with the arguments and variables that the server has.
    """
    try:
        settings = configuration.load(config, overrides=_overrides(data, http, media_ip, media_port))
    except BadSettings as error:
        findings = examination.unreadable(str(error))
    else:
        findings = asyncio.run(examination.examine(settings, now))
    click.echo(examination.as_json(findings) if for_machines else examination.as_text(findings))
    if examination.count(findings, State.WRONG):
        sys.exit(1)


@contextlib.asynccontextmanager
async def _store(config: Path | None, data: Path | None, *, create: bool = True) -> AsyncIterator[Store]:
    """Not with `create` for who looks at what is there: in a mistyped folder there would be nothing, and all well."""
    settings = _load(config, _overrides(data, None, None, None))
    if isinstance(settings.database, Path) and not create and not settings.database.exists():
        raise _Stop(f"data: there is no database {settings.database}")
    if isinstance(settings.database, Path):
        try:
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _Stop(f"data: can't use {settings.data}: {error.strerror}") from None
    try:
        async with Store(settings.database) as store:
            yield store
    except (Unusable, Busy) as error:
        raise _Stop(f"{settings.database_setting}: {error}") from None


@main.group()
def tenants() -> None:
    """Regions and clinics that share nothing but the machine."""


@tenants.command("create")
@click.argument("tenant")
@click.option("--name", help="What people call it; the same where missing.")
@config_option
@data_option
def tenants_create(tenant: str, name: str | None, config: Path | None, data: Path | None) -> None:
    """Create TENANT, which stands in its links."""
    if not TENANT.fullmatch(tenant):
        raise _Stop(f"TENANT: {tenant!r} doesn't fit (expected small letters, digits and hyphens, at most 63)")

    async def create() -> None:
        async with _store(config, data) as store:
            with acts(OPERATOR):
                await key_store.create_tenant(store, tenant, name or tenant, now())

    try:
        asyncio.run(create())
    except key_store.Taken:
        raise _Stop(f"TENANT: there is a tenant {tenant} already") from None
    click.echo(tenant)


@tenants.command("list")
@config_option
@data_option
def tenants_list(config: Path | None, data: Path | None) -> None:
    """List all tenants."""

    async def show() -> None:
        async with _store(config, data) as store:
            for one in await key_store.tenants(store):
                click.echo(f"{one.id}\t{one.name}\t{one.created_at:%Y-%m-%d}")

    asyncio.run(show())


@main.command()
@click.argument("archive", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--keyring",
    "keyring_copy",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also copy the keyring, to be kept apart from the archive. A former copy is brought up to date.",
)
@config_option
@data_option
def backup(archive: Path, keyring_copy: Path | None, config: Path | None, data: Path | None) -> None:
    """Save the data folder in the new file ARCHIVE, also while the server runs. The keyring isn't in it."""
    settings = _load(config, _overrides(data, None, None, None))
    # Visits come first.
    os.nice(10)
    try:
        made = back_up(settings, archive, keyring_copy, at=now(), version=version())
    except CannotBackUp as error:
        raise _Stop(str(error)) from None
    click.echo(f"{archive}: {archive.stat().st_size} bytes")
    for one in made.files:
        click.echo(f"  {one.name}: {one.size} bytes")
    if keyring_copy is not None:
        click.echo(f"{keyring_copy}: the keyring; keep it apart, for who has both can read everything")
    else:
        click.echo(
            f"without a copy of {settings.keyring_file()} it can't be restored: keep one elsewhere (--keyring)",
            err=True,
        )
    if made.database == "postgresql":
        click.echo("the database isn't in it: pg_dump saves that, and has to be run before this", err=True)


@main.command()
@click.argument("archive", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--keyring",
    "keyring_copy",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The copy of the keyring that was kept apart; not where the setting `keyring` names one.",
)
@config_option
@data_option
def restore(archive: Path, keyring_copy: Path | None, config: Path | None, data: Path | None) -> None:
    """Bring back what `vardrum backup` saved in ARCHIVE, into a data folder that is new or empty."""
    settings = _load(config, _overrides(data, None, None, None))
    try:
        found = bring_back(settings, archive, keyring_copy, at=now())
    except CannotRestore as error:
        raise _Stop(str(error)) from None
    click.echo(f"{settings.data}: as it was {found.made_at:%Y-%m-%d %H:%M:%S} UTC, {found.size} bytes")


@main.group()
def keyring() -> None:
    """The installation's own keys, which phone numbers and the like are kept with."""


@keyring.command("create")
@config_option
@data_option
def keyring_create(config: Path | None, data: Path | None) -> None:
    """Make the file that the setting `keyring` names, with a first key, and print its path."""
    path = _load(config, _overrides(data, None, None, None)).keyring_file()
    if path.exists():
        raise _Stop(f"keyring: {path} is there already")
    try:
        keyring_file.load(path, create=True)
    except keyring_file.BadKeyring as error:
        raise _Stop(f"keyring: {error}") from None
    click.echo(path)


@keyring.command("rotate")
@config_option
@data_option
def keyring_rotate(config: Path | None, data: Path | None) -> None:
    """Add a key for what comes next; restart the server to use it. What is there stays readable."""
    path = _load(config, _overrides(data, None, None, None)).keyring_file()

    async def rotate() -> str:
        async with _store(config, data) as store:
            with acts(OPERATOR):
                return await key_store.rotate_keyring(store, lambda: keyring_file.rotate(path), now())

    try:
        keyring_file.load(path, create=False)
        click.echo(asyncio.run(rotate()))
    except keyring_file.BadKeyring as error:
        raise _Stop(f"keyring: {error}") from None


@main.group()
def keys() -> None:
    """API keys of portals."""


@keys.command("create")
@click.option("--tenant", required=True)
@click.option("--name", required=True, help="Whose key it is, to know it in the list.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([str(one) for one in Scope]),
    help="Repeatable.",
)
@config_option
@data_option
def keys_create(tenant: str, name: str, scopes: tuple[str, ...], config: Path | None, data: Path | None) -> None:
    """Create a key and print it, this one time."""

    async def create() -> tuple[str, str]:
        async with _store(config, data) as store:
            with acts(OPERATOR):
                return await key_store.create_key(store, tenant, name, sorted(set(scopes)), now(), os.urandom)

    try:
        key_id, secret = asyncio.run(create())
    except key_store.Unknown:
        raise _Stop(f"--tenant: there is no tenant {tenant}") from None
    click.echo(f"{key_id}\n{secret}")


@keys.command("list")
@click.option("--tenant")
@config_option
@data_option
def keys_list(tenant: str | None, config: Path | None, data: Path | None) -> None:
    """List keys; never the keys themselves, which nobody has kept."""

    async def show() -> None:
        async with _store(config, data) as store:
            for one in await key_store.keys(store, tenant):
                state = "active" if one.revoked_at is None else f"revoked {one.revoked_at:%Y-%m-%d}"
                click.echo(f"{one.id}\t{one.tenant}\t{one.name}\t{' '.join(one.scopes)}\t{state}")

    asyncio.run(show())


@keys.command("revoke")
@click.argument("key")
@config_option
@data_option
def keys_revoke(key: str, config: Path | None, data: Path | None) -> None:
    """Revoke KEY (its id); a running server refuses it at once."""

    async def revoke() -> None:
        async with _store(config, data) as store:
            with acts(OPERATOR):
                await key_store.revoke_key(store, key, now())

    try:
        asyncio.run(revoke())
    except key_store.Unknown:
        raise _Stop(f"KEY: there is no key {key}") from None
    click.echo(key)


@main.group()
def audit() -> None:
    """The audit trail: who did what about whom, and whether anybody has changed it since."""


@audit.command("verify")
@click.option("--tenant", help="One tenant's trail only.")
@click.option(
    "--keys",
    "public_keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Public keys that `vardrum audit keys` printed, kept elsewhere; instead of the keyring's.",
)
@click.option(
    "--heads",
    "others",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Lines that `vardrum audit head` printed, kept elsewhere. Repeatable.",
)
@config_option
@data_option
def audit_verify(
    tenant: str | None, public_keys: Path | None, others: tuple[Path, ...], config: Path | None, data: Path | None
) -> None:
    """Check every entry, and the signed heads against them; exit status 1 when anything doesn't fit."""
    settings = _load(config, _overrides(data, None, None, None))

    async def check() -> None:
        async with _store(config, data, create=False) as store:
            report = await audit_cli.check(store, settings, public_keys, others, tenant)
        for problem in report.problems:
            click.echo(str(problem))
        if report.problems:
            raise _Stop(f"{len(report.problems)} things don't fit, in {report.entries} entries")
        if not report.entries:
            raise _Stop("there is no audit trail here to verify")
        click.echo(f"{report.entries} entries and {report.heads} signed heads: everything fits")

    try:
        asyncio.run(check())
    except audit_cli.Unusable as error:
        raise _Stop(str(error)) from None


@audit.command("head")
@config_option
@data_option
def audit_head(config: Path | None, data: Path | None) -> None:
    """Print each tenant's signed head, to be kept where nobody of this machine can write."""
    settings = _load(config, _overrides(data, None, None, None))

    async def show() -> None:
        async with _store(config, data, create=False) as store:
            async for line in audit_cli.signed_heads(store, audit_cli.keyring(settings)):
                click.echo(line)

    try:
        asyncio.run(show())
    except audit_cli.Unusable as error:
        raise _Stop(str(error)) from None


@audit.command("keys")
@config_option
@data_option
def audit_keys(config: Path | None, data: Path | None) -> None:
    """Print the public keys of signed heads, and their fingerprints."""
    settings = _load(config, _overrides(data, None, None, None))
    try:
        click.echo(audit_cli.shown_keys(audit_cli.public_keys(audit_cli.keyring(settings))))
    except audit_cli.Unusable as error:
        raise _Stop(str(error)) from None
