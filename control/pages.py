"""The pages of a visit, and what browsers are told not to do with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from .settings import TENANT

WEB = Path(__file__).parent / "web"
# Where portals load <vardrum-visit> from; it stays for as long as /v1 does.
EMBED = "/embed.js"

# Only where the page came by TLS (RFC 6797, section 7.2).
HSTS = {"Strict-Transport-Security": "max-age=31536000"}

# Everything that isn't a page: nothing in it is to be run, framed, guessed at or kept.
API_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_headers(public_url: str, portals: Collection[str] = ()) -> dict[str, str]:
    """Headers of pages and their modules: our own origin and nothing else, but in a frame of these portals.

    The websocket is named too, because older WebKit doesn't count it to 'self'.
    """
    parts = urlsplit(public_url)
    socket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "media-src": "'self' blob:",
        "font-src": "'self'",
        "connect-src": f"'self' {socket}",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": " ".join(portals) or "'none'",
        "require-trusted-types-for": "'script'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": (
            "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self), "
            "screen-wake-lock=(self), speaker-selection=(self), geolocation=(), payment=(), usb=()"
        ),
        # Asked again each time, answered 304 where nothing changed: a new version must not run with old modules.
        "Cache-Control": "no-cache",
    }
    if portals:
        # It knows no lists; every browser that has WebRTC goes by frame-ancestors (CSP Level 3, section 6.4.2).
        del headers["X-Frame-Options"]
    return headers


class Pages:
    """GET /j/{tenant}, /staff/{tenant}, /login, /static/… and /embed.js"""

    def __init__(
        self,
        public_url: str,
        portals: Mapping[str, Collection[str]],
        secure: Callable[[web.Request], bool],
        folder: Path = WEB,
    ) -> None:
        """
        Args:
            portals: tenant to the origins whose pages may show its visits in a frame.
            secure: whether a request came by TLS (`api.proxies`).
        """
        self._secure = secure
        self._folder = folder
        self._headers = page_headers(public_url)
        self._framed = {tenant: page_headers(public_url, origins) for tenant, origins in portals.items()}
        self._portals = frozenset(origin for origins in portals.values() for origin in origins)

    def routes(self) -> list[web.AbstractRouteDef]:
        found: list[web.AbstractRouteDef] = [
            web.get("/j/{tenant}", self.visit),
            web.get("/staff/{tenant}", self.console),
            web.get("/login", self.login),
            web.get(EMBED, self.embed),
        ]
        if (self._folder / "static").is_dir():
            found.append(web.static("/static", self._folder / "static"))
        return found

    async def visit(self, request: web.Request) -> web.FileResponse:
        """The page of a link. It is the same for everyone: who it is for stands in the fragment, which stays there."""
        if not TENANT.fullmatch(request.match_info["tenant"]):
            raise web.HTTPNotFound
        return web.FileResponse(self._folder / "index.html")

    async def console(self, request: web.Request) -> web.FileResponse:
        """Staff's console; the code that opens it stands in the fragment."""
        if not TENANT.fullmatch(request.match_info["tenant"]):
            raise web.HTTPNotFound
        return web.FileResponse(self._folder / "staff.html")

    async def login(self, request: web.Request) -> web.FileResponse:
        """Where a login by a provider begins in a window of its own, and where every login comes back to."""
        return web.FileResponse(self._folder / "login.html")

    async def embed(self, request: web.Request) -> web.FileResponse:
        """The element for portals' pages: the only thing here that a page elsewhere may read (CORS).

        Modules are always fetched by CORS. Nothing else needs it: the frame calls us from our own origin, and an API
        key has no place in a browser.
        """
        origin = request.headers.get("Origin")
        headers = {"Vary": "Origin", "Cross-Origin-Resource-Policy": "cross-origin"}
        if origin is not None and origin in self._portals:
            headers["Access-Control-Allow-Origin"] = origin
        return web.FileResponse(self._folder / "embed.js", headers=headers)

    async def protect(self, request: web.Request, response: web.StreamResponse) -> None:
        """Puts the headers on (for `on_response_prepare`)."""
        page = request.path in ("/login", EMBED) or request.path.startswith(("/static/", "/j/", "/staff/"))
        if request.path == "/login":
            # It speaks with the page that opened it, which is inside somebody else's.
            response.headers["Cross-Origin-Opener-Policy"] = "unsafe-none"
        headers = self._headers if page else API_HEADERS
        if request.path.startswith("/j/"):
            headers = self._framed.get(request.match_info.get("tenant", ""), headers)
        if page and self._secure(request):
            headers = {**headers, **HSTS}
        for name, value in headers.items():
            if name not in response.headers:
                response.headers[name] = value
        if page and response.content_type in ("text/html", "application/javascript", "text/javascript", "text/css"):
            # RFC 9239: modules are text/javascript. Without a charset the page's own would be guessed for them.
            response.content_type = response.content_type.replace("application/", "text/")
            response.charset = "utf-8"
        response.headers.pop("Server", None)
