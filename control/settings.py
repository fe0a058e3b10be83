"""Settings: the defaults in `config/default.toml`, then FILE, then `VARDRUM_…` variables.

What doesn't fit stops the start with a sentence that says where, what, and what was expected.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..sfu.types import MediaSettings
from .keyring import FILE as KEYRING
from .notify.template import Template
from .turn import Turn as TurnServer
from .turn import address as turn_address
from .turn import load as load_turn
from .visits.values import Function

DEFAULTS = Path(__file__).parent.parent / "config" / "default.toml"
PREFIX = "VARDRUM_"
# Each has a port and about 3 MB of buffers; no machine that this was tried on has more cores.
MAX_SHARDS = 64
# One per network and address family is usual; each is two candidates in every m-section of every answer.
MAX_PUBLIC_IPS = 4
# Of proxies whose word is taken; a balancer has some, and each is looked at with each refused request.
MAX_PROXIES = 32
# Browsers warn of five, and ask every one of them from every interface.
MAX_TURN_URLS = 4
PHONES = "the address that phones reach this server on, such as 192.0.2.10"
DATABASE = "vardrum.db"
TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# As browsers write it in `Origin` (RFC 6454, section 6.1): small letters, punycode, nothing after the port.
_ORIGIN = re.compile(r"(https?)://([a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
# They all stand in a header of every page.
MAX_ORIGINS = 32
# For the command line, the sample portal and load tests; not settings.
NOT_SETTINGS = frozenset({"VARDRUM_API_KEY", "VARDRUM_CONFIG"})


class BadSettings(Exception):
    """The configuration can't be used; the message is one line for each thing that is wrong."""


def _ip(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("is not an IP address (expected one like 192.0.2.10 or 2001:db8::10)") from None


def _public_ips(value: object) -> object:
    """One address, several (a list, or separated by commas), or none."""
    listed = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if listed == [""]:
        return ()
    try:
        if not isinstance(listed, (list, tuple)) or not 1 <= len(listed) <= MAX_PUBLIC_IPS:
            raise ValueError
        found = [ipaddress.ip_address(one) for one in listed if isinstance(one, str)]
        if len(found) != len(listed) or any(one.is_unspecified for one in found):
            raise ValueError
    except ValueError:
        raise ValueError(f"is not an IP address (expected {PHONES})") from None
    return tuple(str(one) for one in found)


def _networks(value: object) -> object:
    """Addresses and networks, as a list or separated by commas."""
    listed = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    expected = f"expected at most {MAX_PROXIES} such as 127.0.0.1 or 10.1.0.0/16"
    try:
        if not isinstance(listed, (list, tuple)) or len(listed) > MAX_PROXIES:
            raise ValueError
        found = tuple(ipaddress.ip_network(one) for one in listed if isinstance(one, str))
        if len(found) != len(listed):
            raise ValueError
    except ValueError:
        raise ValueError(f"is not a list of addresses and networks ({expected})") from None
    if any(one.prefixlen == 0 for one in found):
        raise ValueError(f"trusts everyone, so that anyone could pretend to be anybody ({expected})")
    return found


def _public_url(value: str) -> str:
    if value == "":
        return value
    parts = urlsplit(value)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = None
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("is not an address (expected one like https://video.region.example)")
    return value.rstrip("/")


def _origin(value: str) -> str:
    """One address of a portal, as browsers will name it."""
    found = _ORIGIN.fullmatch(value.lower())
    if found is None or int(found[3] or 0) > 65535:
        expected = "scheme, host and port exactly, without wildcard or path, such as https://portal.region.example"
        raise ValueError(f"is not an origin (expected {expected})")
    scheme, host, port = found.groups()
    if scheme == "http" and not _loopback(host):
        raise ValueError("is not safe (expected https: whoever is on the way could change a portal's page)")
    # Browsers leave the usual port out.
    usual = {"http": "80", "https": "443"}[scheme]
    return f"{scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_address(value: str) -> tuple[str, int]:
    """`HOST:PORT` or `[v6]:PORT` as two. Raises ValueError."""
    host, colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("is not an address to listen on (expected HOST:PORT, such as 127.0.0.1:9464)")
    return host, int(port)


def _listen(value: str) -> str:
    if value:
        split_address(value)
    return value


def _shards(value: object) -> object:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if value == "auto" or (type(number) is int and 1 <= number <= MAX_SHARDS):
        return number
    raise ValueError(f'is not a number of shards (expected "auto", one per core, or 1 to {MAX_SHARDS})')


def _database_url(value: SecretStr) -> SecretStr:
    if value.get_secret_value():
        # Here: only who uses PostgreSQL waits for its driver to be loaded.
        from .store import postgres

        postgres.parameters(value.get_secret_value())
    return value


def _without_password(value: SecretStr) -> str:
    if not value.get_secret_value():
        return ""
    from .store import postgres

    return postgres.shown(value.get_secret_value())


DatabaseUrl = Annotated[
    SecretStr, AfterValidator(_database_url), PlainSerializer(_without_password, return_type=str, when_used="json")
]


def _listed(value: object) -> object:
    """A list, or one that a variable has separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _functions(value: object) -> object:
    """Names of functions."""
    listed = _listed(value)
    known = [str(one) for one in Function]
    if not isinstance(listed, (list, tuple)) or any(one not in known for one in listed):
        raise ValueError(f"is not a list of functions (expected some of {', '.join(known)})")
    return tuple(Function(one) for one in listed)


def _turn_urls(value: object) -> object:
    listed = _listed(value)
    if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) for one in listed):
        raise ValueError("is not a list of TURN addresses")
    if len(listed) > MAX_TURN_URLS:
        raise ValueError(f"names {len(listed)} addresses (expected at most {MAX_TURN_URLS})")
    for one in listed:
        try:
            turn_address(one)
        except ValueError as error:
            raise ValueError(f"names {one!r}, which {error}") from None
    return tuple(listed)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Port = Annotated[int, Field(ge=0, le=65535)]


class Http(_Part):
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Port
    max_body: Annotated[int, Field(ge=4096, le=16 * 1024 * 1024)]
    refused_per_minute: Annotated[int, Field(ge=1, le=100_000)]
    certificate: str
    key: str
    trusted_proxies: Annotated[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], BeforeValidator(_networks)]

    @field_validator("key")
    @classmethod
    def _goes_with_certificate(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("certificate")):
            raise ValueError("belongs to a certificate (expected both http.certificate and http.key, or neither)")
        return value


class Media(_Part):
    ip: Annotated[str, AfterValidator(_ip)]
    public_ip: Annotated[tuple[str, ...], BeforeValidator(_public_ips)]
    port: Port
    shards: Annotated[int | Literal["auto"], BeforeValidator(_shards)]
    gso: bool
    tcp: bool

    @field_validator("public_ip")
    @classmethod
    def _can_be_reached(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value and (ip := info.data.get("ip")) and ipaddress.ip_address(ip).is_unspecified:
            raise ValueError(f"names none, and media.ip {ip} is every address (expected {PHONES})")
        return value


class Turn(_Part):
    urls: Annotated[tuple[str, ...], BeforeValidator(_turn_urls), AfterValidator(_once)]
    # Less, and clocks that differ by minutes would shut people out; more is what a stolen one is good for.
    lifetime_minutes: Annotated[int, Field(ge=10, le=24 * 60)]
    secret_file: str

    @field_validator("secret_file")
    @classmethod
    def _goes_with_urls(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("urls") and not value:
            raise ValueError("is missing (expected the file with what the TURN server has as static-auth-secret)")
        return value


class Metrics(_Part):
    listen: Annotated[str, AfterValidator(_listen)]


class Hosts(_Part):
    by_link: bool


class Rooms(_Part):
    open_before_minutes: Annotated[int, Field(ge=0, le=24 * 60)]
    close_after_minutes: Annotated[int, Field(ge=0, le=24 * 60)]


class Drain(_Part):
    seconds: Annotated[int, Field(ge=0, le=24 * 3600)]


class Audit(_Part):
    export: str
    export_seconds: Annotated[int, Field(ge=1, le=24 * 3600)]
    read_again_minutes: Annotated[int, Field(ge=0, le=24 * 60)]


class Retention(_Part):
    rooms_days: Annotated[int, Field(ge=1, le=3650)]
    telemetry_days: Annotated[int, Field(ge=1, le=3650)]
    statistics_days: Annotated[int, Field(ge=1, le=36500)]
    # HSLF-FS 2016:40, 4 kap. 9 §
    audit_years: Annotated[int, Field(ge=5, le=100)]

    @field_validator("statistics_days")
    @classmethod
    def _outlives(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("rooms_days", 0):
            raise ValueError("is less than retention.rooms_days (expected at least as many)")
        return value


class Webhooks(_Part):
    allow_private: bool
    ca_file: str
    timeout_seconds: Annotated[float, Field(ge=1, le=60)]


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not (parts.scheme == "https" or local) or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is not an issuer (expected an https address as in the provider's discovery document)")
    return value


def _provider_name(value: str) -> str:
    if value in ("document", "known_in_person"):
        raise ValueError("is what a host's own ways of knowing somebody are called (expected the name of an eID)")
    return value


# What an identity that has come by the provider is called.
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$"), AfterValidator(_provider_name)]
TenantName = Annotated[str, Field(pattern=f"^{TENANT.pattern}$")]
Words = Annotated[str, Field(min_length=1, max_length=200)]
# Signatures by public keys only (RFC 7518, section 3.1; RFC 8037): with HMAC whoever has the secret can be anybody.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class OidcProvider(_Part):
    """A provider of identities that speaks OpenID Connect, in front of one eID or several.

    Attributes:
        levels: what its `acr` values are worth; others count for nothing.
        subject_claim: the claim that `expected_subject` is compared with.
        staff: whether it is staff who log in by it, and not patients.
        care_unit_claim: for staff, the claim with the care unit or units (`hsa_id`, else name) they work for.
        prompt: `login` has everybody show their eID anew; empty lets the provider decide.
    """

    issuer: Annotated[str, Field(max_length=500), AfterValidator(_issuer)]
    client_id: Words
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    label: Words
    scopes: Annotated[list[Words], Field(max_length=20)] = ["openid"]
    levels: dict[Words, Literal["loa1", "loa2", "loa3", "loa4"]] = {}
    subject_claim: Words = "sub"
    name_claim: Words = "name"
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256", "PS256", "ES256"]
    prompt: Literal["login", "select_account", ""] = "login"
    staff: bool = False
    care_unit_claim: Words | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("has both client_secret and client_secret_file (expected one of them)")
        try:
            self.secret()
        except (OSError, ValueError):
            raise ValueError(f"has a client_secret_file that can't be read: {self.client_secret_file}") from None
        if not self.staff and not self.levels:
            raise ValueError('has no levels (expected what its acr values are worth, such as {"urn:…:loa3" = "loa3"})')
        if self.staff and self.care_unit_claim is None:
            raise ValueError("has no care_unit_claim (expected the claim that says for which care unit staff work)")
        return self

    def secret(self) -> str | None:
        """The client's secret, where it has one. Raises OSError or ValueError where its file can't be read."""
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text().strip()
        return None if self.client_secret is None else self.client_secret.get_secret_value()


class Tenant(_Part):
    """What is set for one tenant alone, under its name.

    Attributes:
        origins: of the portals whose pages may show its visits in a frame.
        oidc: the providers by which its people are identified, by name.
    """

    origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...], AfterValidator(_once), Field(max_length=MAX_ORIGINS)
    ] = ()
    oidc: dict[ProviderName, OidcProvider] = {}


class CareUnits(_Part):
    functions: Annotated[tuple[Function, ...], BeforeValidator(_functions)]


def _https(value: str) -> str:
    """An address that numbers may be sent to: encrypted, or on this machine."""
    if value == "":
        return value
    parts = urlsplit(value)
    try:
        usable = parts.hostname and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("http", "https") or parts.fragment:
        raise ValueError("is not an address (expected one like https://sms.region.example/send)")
    if parts.scheme == "http" and not _loopback(parts.hostname or ""):
        raise ValueError("is not encrypted (expected https; http only to this machine itself)")
    return value


def _sender(value: str) -> str:
    if value and (not (found := parseaddr(value)[1]) or "@" not in found or not value.isprintable()):
        raise ValueError("is not a sender (expected one like Videomöte <noreply@region.example>)")
    return value


class Messages(_Part):
    remind_before_minutes: Annotated[int, Field(ge=0, le=14 * 24 * 60)]


class Smtp(_Part):
    host: Annotated[str, Field(max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: Literal["starttls", "tls", "none"]
    ca_file: str
    user: str
    password_file: str
    sender: Annotated[str, AfterValidator(_sender)]

    @field_validator("tls")
    @classmethod
    def _encrypted(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and (host := info.data.get("host")) and not _loopback(host):
            raise ValueError("sends links unencrypted (expected starttls or tls; none only to this machine itself)")
        return value

    @field_validator("password_file")
    @classmethod
    def _goes_with_user(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("user")):
            raise ValueError("belongs to a user (expected both smtp.user and smtp.password_file, or neither)")
        if value and info.data.get("tls") == "none":
            raise ValueError("would be sent unencrypted (expected smtp.tls = starttls or tls)")
        return value

    @field_validator("sender")
    @classmethod
    def _named(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("host") and not value:
            raise ValueError("is missing (expected a neutral one, such as Videomöte <noreply@region.example>)")
        return value


class Sms(_Part):
    url: Annotated[str, AfterValidator(_https)]
    method: Literal["POST", "PUT"]
    headers_file: str
    format: Literal["json", "form"]
    body: Annotated[str, Field(max_length=10_000)]

    @field_validator("body")
    @classmethod
    def _is_template(cls, value: str, info: ValidationInfo) -> str:
        if (format := info.data.get("format")) is not None:
            Template(format, value).parsed()
        return value


class Log(_Part):
    level: Literal["debug", "info", "warning", "error"]
    format: Literal["json", "text"]


class Settings(BaseSettings):
    """Everything that can be set; see `config/default.toml` for what each means."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=False
    )

    public_url: Annotated[str, AfterValidator(_public_url)]
    data: Path
    keyring: str
    database_url: DatabaseUrl
    database_url_file: str
    http: Http
    media: Media
    turn: Turn
    metrics: Metrics
    hosts: Hosts
    rooms: Rooms
    drain: Drain
    audit: Audit
    retention: Retention
    webhooks: Webhooks
    care_units: CareUnits
    messages: Messages
    smtp: Smtp
    sms: Sms
    log: Log
    tenants: dict[TenantName, Tenant]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Sources are merged, and checked one by one, in `load`: only so can an error name the file it came from.
        return (init_settings,)

    def keyring_file(self) -> Path:
        """Where the installation's keys are."""
        return Path(self.keyring) if self.keyring else self.data / KEYRING

    def certificate_files(self) -> tuple[Path, Path] | None:
        """The files of certificate and key, where this server speaks TLS itself."""
        http = self.http
        return (Path(http.certificate), Path(http.key)) if http.certificate else None

    def audit_folder(self) -> Path:
        """Where signed heads of the audit trail are appended to."""
        return Path(self.audit.export) if self.audit.export else self.data / "audit"

    @property
    def database(self) -> Path | str:
        """What `Store` opens: a file in the data folder, or the address of PostgreSQL."""
        return self.database_url.get_secret_value() or self.data / DATABASE

    @property
    def database_setting(self) -> str:
        """The setting that says where the database is, for messages."""
        return "database_url" if self.database_url.get_secret_value() else "data"

    def media_settings(self) -> MediaSettings:
        """The part that media knows."""
        media = self.media
        shards = len(os.sched_getaffinity(0)) if media.shards == "auto" else media.shards
        return MediaSettings(
            ip=media.ip,
            public_ips=media.public_ip,
            port=media.port,
            shards=min(shards, MAX_SHARDS),
            gso=media.gso,
            tcp=media.tcp,
        )

    def turn_server(self) -> TurnServer | None:
        """What is told of the TURN server to those who are let in. Raises BadFile where its secret can't be used."""
        return load_turn(self.turn.urls, self.turn.secret_file, self.turn.lifetime_minutes)


Values = Mapping[str, Any]


def load(
    config: Path | None = None, *, overrides: Values | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings of this start.

    Args:
        config: a TOML file, or None.
        overrides: what the command line says, as nested tables; wins over everything.
        environment: `os.environ` where None.

    Raises:
        BadSettings: with one line for each thing that is wrong.
    """
    environment = os.environ if environment is None else environment
    layers: list[tuple[str, Values]] = [(_shown(DEFAULTS), _read(DEFAULTS))]
    if config is not None:
        layers.append((_shown(config), _read(config)))
    problems = []
    variables, unknown = _variables(environment)
    problems += unknown
    layers.append(("environment", variables))
    layers.append(("command line", overrides or {}))
    merged: dict[str, Any] = {}
    origin: dict[tuple[str, ...], str] = {}
    for name, layer in layers:
        _merge(merged, layer, origin, name, ())
    _read_database_url(merged, origin)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        problems += [_sentence(one, origin) for one in error.errors()]
    if problems:
        raise BadSettings("\n".join(problems))
    return settings


def _read_database_url(merged: dict[str, Any], origin: dict[tuple[str, ...], str]) -> None:
    """Takes the address from the file that it may stand in, such as a credential of systemd's."""
    path, where = merged.get("database_url_file"), origin[("database_url_file",)]
    if not isinstance(path, str) or not path:
        return
    if merged.get("database_url"):
        raise BadSettings(f"{where}: database_url_file: {path!r} is one too many (expected it, or database_url)")
    try:
        address = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError, ValueError):
        raise BadSettings(f"{where}: database_url_file: {path!r} can't be read") from None
    if not address:
        raise BadSettings(f"{where}: database_url_file: {path!r} is empty (expected an address of PostgreSQL)")
    merged["database_url"], origin[("database_url",)] = address, path


def _shown(path: Path) -> str:
    return "config/default.toml" if path == DEFAULTS else str(path)


def _read(path: Path) -> Values:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise BadSettings(f"{_shown(path)}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{_shown(path)}: can't be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{_shown(path)}: is not TOML: {error}") from None


def _variables(environment: Mapping[str, str]) -> tuple[Values, list[str]]:
    """`VARDRUM_HTTP__PORT=1` as `{"http": {"port": "1"}}`, and a sentence for each variable that means nothing."""
    found: dict[str, Any] = {}
    unknown = []
    known = _keys() - {("tenants",)}  # a file's matter: a variable can't hold a table
    for name, value in sorted(environment.items()):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if path not in known:
            expected = ", ".join(sorted(PREFIX + "__".join(one).upper() for one in known))
            unknown.append(f"environment: {name}: there is no such setting (expected one of {expected})")
            continue
        table = found
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
    return found, unknown


def _keys() -> set[tuple[str, ...]]:
    keys: set[tuple[str, ...]] = set()
    for name, field in Settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, _Part):
            keys |= {(name, key) for key in inner.model_fields}
        elif name != "tenants":  # tables of tables: they are in files only
            keys.add((name,))
    return keys


def _merge(
    into: dict[str, Any], layer: Values, origin: dict[tuple[str, ...], str], name: str, path: tuple[str, ...]
) -> None:
    for key, value in layer.items():
        here = (*path, key)
        origin[here] = name
        if isinstance(value, Mapping):
            below = into.get(key)
            into[key] = below if isinstance(below, dict) else {}
            _merge(into[key], value, origin, name, here)
        else:
            into[key] = value


def _sentence(error: Any, origin: Mapping[tuple[str, ...], str]) -> str:
    path = tuple(str(part) for part in error["loc"])
    key = ".".join(path)
    # What is missing was written nowhere: the table that it is missing from was.
    where = next((origin[path[:size]] for size in range(len(path), 0, -1) if path[:size] in origin), "settings")
    if where == "environment":
        key = PREFIX + "__".join(path).upper()
    if error["type"] == "extra_forbidden":
        siblings = _siblings(path)
        tables = sorted({one[0] for one in _keys() if len(one) > 1}) if len(path) == 1 else []
        return f"{where}: {key}: there is no such setting (expected one of {', '.join(siblings + tables)})"
    if _secret(path):
        # Not what was given: it may be a password, or a part of one.
        return f"{where}: {key}: {error['ctx']['error'] if error['type'] == 'value_error' else error['msg']}"
    if error["type"] == "missing":
        return f"{where}: {key}: is missing"
    if path[0] == "tenants" and (isinstance(error["input"], Mapping) or path[-1] == "client_secret"):
        # A whole table has secrets in it.
        said = error["ctx"]["error"] if error["type"] == "value_error" else "doesn't fit"
        return f"{where}: {key}: {said}"
    if error["type"] == "value_error":
        return f"{where}: {key}: {error['input']!r} {error['ctx']['error']}"
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"{where}: {key}: {error['input']!r} doesn't fit ({message})"


def _secret(path: tuple[str, ...]) -> bool:
    table: Any = Settings
    for name in path:
        field = table.model_fields.get(name) if isinstance(table, type) and issubclass(table, BaseModel) else None
        table = None if field is None else field.annotation
    return table is SecretStr


def _siblings(path: tuple[str, ...]) -> list[str]:
    """The settings that there are in the table that `path` is in."""
    if path[0] == "tenants" and len(path) > 2:
        return sorted((OidcProvider if path[2] == "oidc" and len(path) > 3 else Tenant).model_fields)
    return sorted(one[-1] for one in _keys() if one[:-1] == path[:-1])
