"""The README's section "On a machine of its own", done as it stands, on a machine that has nothing of ours yet.

`make operate`, as root, with Debian's `mmdebstrap`: a fresh Debian in a folder, entered with mounts, processes and a
network of its own, from which there is no way out: what is installed is what `make wheelhouse` has made.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trustme

from .walk import Block, blocks

ROOT = Path(__file__).parents[2]
MACHINE = Path(__file__).parent / "machine"
SECTION = "On a machine of its own"
SUITE = "bookworm"
# Of who installs, in that Debian.
HOME = "root"
PACKAGES = ("adduser", "ca-certificates", "curl", "openssl", "python3", "python3-venv")
# What stands in config/production.toml.
HOST, MEDIA = "video.region.example", "192.0.2.10"
# After these steps: what has to be so.
CHECKS = {
    "First visit": "visit visit.json",
    "Back up": "late",
    "Restore": "visit visit.json\ngone late.json",
    "Upgrade": "visit visit.json",
}


def steps(readme: str) -> dict[str, list[Block]]:
    """The code blocks of each step, by its heading."""
    section = readme.split(f"\n## {SECTION}\n")[1].split("\n## ")[0]
    found = re.split(r"^### (.+)$", section, flags=re.M)
    return {name: blocks(text) for name, text in zip(found[1::2], found[2::2], strict=True)}


def script(listed: dict[str, list[Block]]) -> str:
    """What the operator types, and between it what others do and how it should be then."""
    lines = ["set -euo pipefail", "cd"]
    for name, typed in listed.items():
        lines.append(f"echo '== {name}' $SECONDS s")
        lines += [block.text for block in typed]
        for check in CHECKS.get(name, "").splitlines():
            if check == "late":  # a visit that is booked after the backup
                [booking] = blocks_with(listed["First visit"], "curl")
                lines.append(booking.replace("visit.json", "late.json"))
            else:
                lines.append(f"/opt/vardrum/bin/python machine/visit.py {check}")
    lines += ["systemctl stop vardrum", "echo '== done' $SECONDS s"]
    return "\n".join([*lines, ""])


def blocks_with(listed: list[Block], command: str) -> list[str]:
    """Of each block, what begins with the line that begins with `command`."""
    return [block.text[block.text.index(f"\n{command}") + 1 :] for block in listed if f"\n{command}" in block.text]


def make_machine(folder: Path, wheels: Path) -> None:
    """A Debian in `folder`, with what the operator is said to have brought along in their home."""
    packages = ",".join(PACKAGES)
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", SUITE, str(folder))
    home = folder / HOME
    shutil.copytree(wheels, home / "dist")
    shutil.copytree(MACHINE, home / "machine")
    authority = trustme.CA()
    pair = authority.issue_cert(HOST)
    (home / "fullchain.pem").write_bytes(b"".join(one.bytes() for one in pair.cert_chain_pems))
    (home / "privkey.pem").write_bytes(pair.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(folder / "usr/local/share/ca-certificates/region.crt"))
    shim = folder / "usr/local/bin/systemctl"
    shim.write_text(f'#!/bin/sh\nexec python3 /{HOME}/machine/systemctl.py "$@"\n')
    shim.chmod(0o755)
    (folder / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    with (folder / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 localhost\n127.0.0.1 {HOST}\n")


def follow(folder: Path, text: str) -> None:
    """Does it there; what it prints is printed."""
    (folder / HOME / "follow.sh").write_text("update-ca-certificates >/dev/null 2>&1\n" + text)
    inside = f"env -i HOME=/{HOME} PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin bash /{HOME}/follow.sh"
    root = shlex.quote(str(folder))
    entered = (
        f"ip link set lo up && ip address add {MEDIA}/32 dev lo && mount -t proc proc {root}/proc"
        f" && mount --bind /dev {root}/dev && exec chroot {root} {inside}"
    )
    run("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", entered)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    """All of it, from the wheels that are there."""
    wheels = ROOT / "build" / "dist"
    listed = steps((ROOT / "README.md").read_text(encoding="utf-8"))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vardrum-machine-") as scratch:
        folder = Path(scratch) / "debian"
        make_machine(folder, wheels)
        print(f"a fresh Debian after {time.monotonic() - begun:.0f} s", flush=True)
        try:
            follow(folder, script(listed))
        except subprocess.CalledProcessError:
            log = folder / "var/log/vardrum.log"
            sys.exit(log.read_text()[-4000:] if log.exists() else "it went wrong before the server was started")


if __name__ == "__main__":
    main()
