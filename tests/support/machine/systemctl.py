"""The few things that the README asks of systemd, done by the unit file where nothing has booted: start, stop, restart.

It runs on the clean machine, with that one's own Python. The server runs as the unit's user, with no capability but the
unit's, no new privileges, and the secrets that the unit names in a folder of its own. At what only systemd can do,
`systemd-analyze` looks (tests/ops).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run/machine")
DEADLINE = 120.0
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


def service(name: str) -> dict[str, list[str]]:
    """What stands under [Service]: values by key, in order."""
    found: dict[str, list[str]] = {}
    part = ""
    for line in (UNITS / f"{name}.service").read_text().splitlines():
        if line.startswith("["):
            part = line
        elif part == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def start(name: str) -> None:
    unit = service(name)
    user = pwd.getpwnam(unit["User"][0])
    for folder in unit["StateDirectory"]:
        path = Path("/var/lib") / folder
        path.mkdir(mode=0o700, exist_ok=True)
        os.chown(path, user.pw_uid, user.pw_gid)
    secrets = RUN / f"{name}.secrets"
    shutil.rmtree(secrets, ignore_errors=True)
    secrets.mkdir(parents=True, mode=0o500)
    for line in unit["LoadCredential"]:
        credential, _, source = line.partition(":")
        copy = secrets / credential
        shutil.copyfile(source, copy)
        copy.chmod(0o400)
        os.chown(copy, user.pw_uid, user.pw_gid)
    os.chown(secrets, user.pw_uid, user.pw_gid)
    notify = RUN / f"{name}.notify"
    notify.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(notify))
        notify.chmod(0o666)
        heard.settimeout(0.2)
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "NOTIFY_SOCKET": str(notify)}
        for line in unit["Environment"]:
            key, _, value = line.partition("=")
            environment[key] = value.replace("%d", str(secrets))
        log = Path("/var/log") / f"{name}.log"
        with log.open("ab") as output:
            child = subprocess.Popen(
                [*as_user(unit), *unit["ExecStart"][0].split()],
                env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=lambda: confine(unit), umask=int(unit["UMask"][0], 8), cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                if heard.recv(100) == b"READY=1":
                    break
            except TimeoutError:
                if child.poll() is None and time.monotonic() < deadline:
                    continue
                sys.exit(f"{name} didn't start:\n{log.read_text()[-4000:]}")
    (RUN / f"{name}.pid").write_text(str(child.pid))


def as_user(unit: dict[str, list[str]]) -> list[str]:
    [may] = unit["CapabilityBoundingSet"]
    assert [may] == unit["AmbientCapabilities"]
    assert unit["NoNewPrivileges"] == ["yes"]
    name = "+" + may.removeprefix("CAP_").lower()
    return [
        *("setpriv", "--reuid", unit["User"][0], "--regid", unit["Group"][0], "--clear-groups", "--no-new-privs"),
        *("--inh-caps", f"-all,{name}", "--ambient-caps", f"-all,{name}", "--bounding-set", f"-all,{name}"),
    ]


def confine(unit: dict[str, list[str]]) -> None:
    # In a container root itself may be limited.
    descriptors = min(int(unit["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        assert ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0


def stop(name: str) -> None:
    file = RUN / f"{name}.pid"
    if not file.exists():
        return
    process = Path("/proc") / file.read_text()
    os.kill(int(process.name), signal.SIGTERM)
    deadline = time.monotonic() + DEADLINE
    while process.exists() and "\nState:\tZ" not in (process / "status").read_text():
        if time.monotonic() > deadline:
            sys.exit(f"{name} didn't stop")
        time.sleep(0.05)
    file.unlink()


def main(words: list[str]) -> None:
    match [word for word in words if not word.startswith("--")]:
        case ["daemon-reload"]:
            pass
        case ["start" | "enable", name]:
            start(name)
        case ["stop", name]:
            stop(name)
        case ["restart", name]:
            stop(name)
            start(name)
        case _:
            sys.exit(f"systemctl: {words}: nothing of the README's")


if __name__ == "__main__":
    main(sys.argv[1:])
