"""What an operator installs by, as its own tools see it: the unit, the compose file, the example configuration."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import yaml
from vardrum.control import settings as configuration
from vardrum.tests.api.test_cli import vardrum
from vardrum.tests.support import operator
from vardrum.tests.support.server import VARDRUM, Server

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
# Tenths of what `systemd-analyze security` calls exposure: 10.0 is a service without any confinement.
EXPOSURE = 20


def test_systemd_takes_the_unit_and_finds_it_confined(tmp_path: Path) -> None:
    unit = tmp_path / "vardrum.service"
    text = (CONFIG / "vardrum.service").read_text()
    assert "/opt/vardrum/bin/vardrum" in text
    unit.write_text(text.replace("/opt/vardrum/bin/vardrum", VARDRUM))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    said = [line for line in verified.stderr.splitlines() if "vardrum.service" in line]
    assert (verified.returncode, said) == (0, [])
    confined = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", unit],
        capture_output=True, text=True,
    )  # fmt: skip
    assert confined.returncode == 0, confined.stdout + confined.stderr


def test_what_the_unit_the_compose_file_and_the_example_set_can_be_set() -> None:
    configuration.load(CONFIG / "production.toml", environment={})
    named = set(re.findall(r"Environment=(VARDRUM_[A-Z_]+)=", (CONFIG / "vardrum.service").read_text()))
    named |= set(yaml.safe_load((CONFIG / "compose.yml").read_text())["services"]["server"]["environment"])
    known = {"VARDRUM_" + "__".join(key).upper() for key in configuration._keys()}
    assert named <= known


def test_compose_takes_its_file_and_what_it_mounts_is_there(tmp_path: Path) -> None:
    compose = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    checked = subprocess.run([*compose, "--file", CONFIG / "compose.yml", "config"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    found = yaml.safe_load(checked.stdout)
    # These are the operator's.
    own = {"vardrum.toml", "coturn.conf", "coturn"}
    for name, service in found["services"].items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0] if isinstance(volume, str) else volume["source"]
            if source.startswith("/") and Path(source).name not in own:
                assert Path(source).is_file(), f"{name}: {source}"
        # Nothing is open to the world but what `network_mode: host` binds by its own settings.
        assert all("127.0.0.1" in json.dumps(port) for port in service.get("ports", []))


async def test_whoever_started_the_server_hears_when_it_serves(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(address))
        heard.setblocking(False)
        async with Server(tmp_path / "data", env={"NOTIFY_SOCKET": str(address)}):
            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(heard, 100), 30)
    assert said == b"READY=1"


async def test_the_keyring_is_made_once_where_the_configuration_says(tmp_path: Path) -> None:
    file = tmp_path / "vardrum.toml"
    file.write_text(f'data = "{tmp_path / "data"}"\nkeyring = "{tmp_path / "keys"}"\n')
    named = {"VARDRUM_CONFIG": str(file)}
    assert await vardrum("keyring", "create", env=named) == (0, f"{tmp_path / 'keys'}\n", "")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    assert await vardrum("keyring", "create", env=named) == (1, "", f"keyring: {tmp_path / 'keys'} is there already\n")


def test_the_readmes_page_is_one_that_can_be_followed() -> None:
    steps = operator.steps((ROOT / "README.md").read_text())
    assert list(steps) == ["Install", "First visit", "Back up", "Restore", "Upgrade"]
    checked = subprocess.run(["bash", "-n"], input=operator.script(steps), text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")
