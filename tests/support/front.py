"""nginx before the website and TURN on one port 443, by `config/nginx-sni.conf` with nothing changed but paths."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...bench.network.namespaces import Namespace
from ...bench.process import Process
from .coturn import CONFIG, Certificates, listening, replaced

LOG = "/var/log/nginx/vardrum.log"
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
# Not in the PATH of people who aren't root.
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
# What stands around it. The website is as the example says that it has to be; /who tells whom it sees.
AROUND = """
{module}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
include {folder}/nginx-sni.conf;
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:8443 ssl http2 proxy_protocol;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        location = /who {{ return 200 $remote_addr; }}
        location / {{
            proxy_pass {website};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""


class Front:
    """`async with Front(folder, namespace, certificates)`; HTTPS leads to `website`."""

    def __init__(
        self, folder: Path, namespace: Namespace, certificates: Certificates, website: str = "http://127.0.0.1:9"
    ) -> None:
        self._folder = folder
        self._namespace = namespace
        self._process: Process | None = None
        folder.mkdir()
        example = replaced((CONFIG / "nginx-sni.conf").read_text(), {LOG: str(folder / "stream.log")})
        (folder / "nginx-sni.conf").write_text(example)
        self._config = folder / "nginx.conf"
        self._config.write_text(
            AROUND.format(
                # Other builds of nginx have it inside.
                module=f"load_module {MODULE};" if MODULE.exists() else "",
                folder=folder,
                chain=certificates.chain,
                key=certificates.key,
                website=website,
            )
        )

    async def check(self) -> str:
        """What `nginx -t` says of it. Raises AssertionError where it refuses."""
        return await self._namespace.run(NGINX, "-t", "-c", str(self._config))

    async def __aenter__(self) -> Front:
        self._process = await Process.start(
            [*self._namespace.prefix, NGINX, "-c", str(self._config)], log=self._folder / "nginx.log"
        )
        await listening(self._namespace, self._process, "0.0.0.0:443", "127.0.0.1:8443", "127.0.0.1:5348")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self._process.stop()

    def log(self) -> str:
        """All that it has written."""
        return "".join(one.read_text() for one in self._folder.glob("*.log"))
