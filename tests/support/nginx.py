"""A real nginx (Debian's package) that stands before a server as the example in `config/` says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import aiohttp

from ...bench.process import Process
from .certificates import HOST, Certificates
from .prometheus import CONFIG
from .server import free_port
from .wait import wait_until

# Not in the PATH of people who aren't root.
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NAME = "video.region.example"
# What Debian's own nginx.conf is around ours; temporary files and everything else stay in the test's folder.
AROUND = """
# Where root runs the tests, nobody else sees their folders; where somebody else does, this says nothing.
user root;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/main.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream;
    include {folder}/vardrum.conf;
}}
"""


class Nginx:
    """`async with Nginx(folder, certificates, upstream)`; `upstream` is the host and port of a server.

    Attributes:
        folder: where its logs are.
        http, https: what it is reached by, under `NAME`.
    """

    def __init__(self, folder: Path, certificates: Certificates, upstream: str) -> None:
        self.folder = folder
        self._certificates = certificates
        self._upstream = upstream
        self._plain, self._secure = free_port(HOST), free_port(HOST)
        self.http, self.https = f"http://{NAME}:{self._plain}", f"https://{NAME}:{self._secure}"
        self._process: Process | None = None

    async def __aenter__(self) -> Nginx:
        self.folder.mkdir()
        (self.folder / "vardrum.conf").write_text(self._written())
        main = self.folder / "nginx.conf"
        main.write_text(AROUND.format(folder=self.folder))
        tried = subprocess.run([NGINX, "-t", "-q", "-c", main], capture_output=True, text=True, check=False)  # noqa: ASYNC221
        assert tried.returncode == 0, tried.stderr
        log = self.folder / "printed.log"
        self._process = process = await Process.start([NGINX, "-c", str(main)], log=log)

        async def answers() -> bool:
            assert process.running, process.output()
            async with self.client() as http:
                try:
                    async with http.get(self.https + "/healthz") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

        await wait_until(answers, deadline=20, what="nginx answers")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self._process.stop()

    def client(self) -> aiohttp.ClientSession:
        """For whom `NAME` is this machine, and who trusts the certificates' authority."""
        connector = aiohttp.TCPConnector(resolver=_Here(), ssl=self._certificates.client())
        return aiohttp.ClientSession(connector=connector)

    def logged(self) -> str:
        """All that it has written anywhere."""
        return "".join(file.read_text() for file in self.folder.glob("*.log"))

    def _written(self) -> str:
        """The example, with this test's files, ports and server in place of an operator's."""
        text = (CONFIG / "nginx.conf").read_text()
        for said, instead in (
            ("    listen [::]:80;\n", ""),
            ("    listen [::]:443 ssl http2;\n", ""),
            ("listen 80;", f"listen {HOST}:{self._plain};"),
            ("listen 443 ", f"listen {HOST}:{self._secure} "),
            (f"https://{NAME}$request_uri", f"{self.https}$request_uri"),
            ("server 127.0.0.1:8080;", f"server {self._upstream};"),
            (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(self._certificates.certificate)),
            (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(self._certificates.key)),
            ("/var/log/nginx/vardrum.log", str(self.folder / "vardrum.log")),
        ):
            assert said in text, said
            text = text.replace(said, instead)
        return text


class _Here(aiohttp.abc.AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        assert host == NAME
        return [{"hostname": host, "host": HOST, "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass
