"""All checks, one after the other: each takes what it needs and says how that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ..notify.ways import ways
from ..secret import BadFile, Clock
from ..settings import Settings
from . import machine, network, storage
from .certificate import certificate
from .finding import Finding, State, ok, wrong
from .turn import turn

WIDTH = 15


async def examine(settings: Settings, clock: Clock) -> list[Finding]:
    """What is said of an installation, running or not. Nothing is changed; outside, DNS and TURN are asked."""
    data = settings.data
    serving = storage.runs(data)
    host = urlsplit(settings.public_url).hostname
    addresses = await network.resolve(host) if host else []
    found = [
        _ways(settings),
        _seen("data", lambda: storage.folder(data)),
        _seen("space", lambda: storage.space(data)),
        _seen("keyring", lambda: storage.keyring(settings)),
        _seen("audit", lambda: storage.audit(settings)),
    ]
    try:
        found += await storage.database(settings, clock)
    except PermissionError as error:
        found.append(_hidden("database", error))
    found += [
        await network.http(settings, serving),
        network.media(settings, serving),
        network.metrics(settings, serving),
        network.public_url(settings, addresses),
        network.public_address(settings, addresses),
    ]
    files, user = settings.certificate_files(), storage.user_of(data)
    found.append(_seen("certificate", lambda: certificate(files, settings.public_url, clock(), user)))
    found += await turn(settings, clock)
    cores = machine.cores(settings.media_settings().shards)
    return [*found, machine.clock(), cores, machine.buffers(), machine.descriptors(), machine.clock_source()]


def _seen(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except PermissionError as error:
        return _hidden(name, error)


def _hidden(name: str, error: PermissionError) -> Finding:
    return wrong(name, f"{error.filename} can't be looked at by who asks here", "ask as root, or as the server's user")


def unreadable(sentences: str) -> list[Finding]:
    """What is said where the settings themselves don't fit: nothing else can be looked at."""
    return [
        wrong("settings", line, "correct it; config/default.toml has every setting") for line in sentences.split("\n")
    ]


def as_text(findings: Sequence[Finding]) -> str:
    """For who reads it."""
    lines = []
    for one in findings:
        lines.append(f"{one.state:<8} {one.name:<{WIDTH}} {one.what}")
        if one.remedy:
            lines.append(" " * (10 + WIDTH) + f"-> {one.remedy}")
    return "\n".join([*lines, "", _sum(findings)])


def as_json(findings: Sequence[Finding]) -> str:
    """For who watches: `{"wrong": 0, "warnings": 1, "findings": [{"name", "state", "what", "remedy"}]}`."""
    listed = [{"name": one.name, "state": str(one.state), "what": one.what, "remedy": one.remedy} for one in findings]
    counted = {"wrong": count(findings, State.WRONG), "warnings": count(findings, State.WARNING)}
    return json.dumps({**counted, "findings": listed}, indent=2, ensure_ascii=False)


def count(findings: Sequence[Finding], state: State) -> int:
    """How many are so."""
    return sum(one.state is state for one in findings)


def _sum(findings: Sequence[Finding]) -> str:
    bad, warnings = count(findings, State.WRONG), count(findings, State.WARNING)
    if not bad and not warnings:
        return "All is well."
    said = [f"{bad} wrong"] if bad else []
    said += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
    return ", ".join(said) + f", of {len(findings)} things."


def _ways(settings: Settings) -> Finding:
    try:
        ways(settings)
    except BadFile as error:
        return wrong("settings", str(error), "the server's user must be able to read that file")
    return ok("settings", "all fit")
