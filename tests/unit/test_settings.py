"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from vardrum.control import settings
from vardrum.control.settings import BadSettings


def test_defaults_then_file_then_variables_then_command_line(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text('public_url = "https://v.example.org/"\n[http]\nport = 1\nhost = "0.0.0.0"\n[media]\nport = 2\n')
    found = settings.load(
        file,
        environment={"VARDRUM_HTTP__PORT": "3", "VARDRUM_MEDIA__PUBLIC_IP": "192.0.2.1", "OTHER": "x"},
        overrides={"http": {"port": 4}},
    )
    assert (found.http.port, found.http.host, found.media.port) == (4, "0.0.0.0", 2)
    assert found.public_url == "https://v.example.org"
    assert found.media_settings().public_ips == ("192.0.2.1",)
    assert found.rooms.open_before_minutes == 15
    assert found.metrics.listen == "127.0.0.1:9464"


@pytest.mark.parametrize(
    ("said", "announced"),
    [
        ('""', ("127.0.0.1",)),
        ('"192.0.2.10"', ("192.0.2.10",)),
        ('"192.0.2.10, 2001:db8:0::10"', ("192.0.2.10", "2001:db8::10")),
        ('["2001:db8::10", "192.0.2.10"]', ("2001:db8::10", "192.0.2.10")),
    ],
)
def test_one_address_or_several_are_announced(tmp_path: Path, said: str, announced: tuple[str, ...]) -> None:
    file = tmp_path / "v.toml"
    file.write_text(f"[media]\npublic_ip = {said}\n")
    assert settings.load(file, environment={}).media_settings().announced == announced


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[media]\npublic_ip = "10.0.0.300"',
            "media.public_ip: '10.0.0.300' is not an IP address (expected the address that phones reach this server on"
            ", such as 192.0.2.10)",
        ),
        (
            '[media]\npublic_ip = ["192.0.2.1", "phones"]',
            "media.public_ip: ['192.0.2.1', 'phones'] is not an IP address (expected the address that phones reach",
        ),
        (
            '[media]\nip = "::"\npublic_ip = ""',
            "media.public_ip: '' names none, and media.ip :: is every address (expected the address that phones reach",
        ),
        ("[http]\nport = 70000", "http.port: 70000 doesn't fit (input should be less than or equal to 65535)"),
        (
            "[media]\nshards = 0",
            'media.shards: 0 is not a number of shards (expected "auto", one per core, or 1 to 64)',
        ),
        ('[media]\nshards = "many"', "media.shards: 'many' is not a number of shards"),
        ("[media]\nshards = true", "media.shards: True is not a number of shards"),
        (
            '[http]\ncertificate = "/etc/vardrum/fullchain.pem"\nkey = ""',
            "http.key: '' belongs to a certificate (expected both http.certificate and http.key, or neither)",
        ),
        (
            '[http]\ntrusted_proxies = ["10.0.0.1/8"]',
            "http.trusted_proxies: ['10.0.0.1/8'] is not a list of addresses and networks (expected at most 32 such",
        ),
        ('[http]\ntrusted_proxies = "0.0.0.0/0"', "http.trusted_proxies: '0.0.0.0/0' trusts everyone, so that anyone "),
        ("[http]\nprot = 1", "http.prot: there is no such setting (expected one of certificate, host, "),
        ("[htpp]\nport = 1", "htpp: there is no such setting (expected one of data, database_url, database_url_file, "),
        (
            '[care_units]\nfunctions = ["fax"]',
            "care_units.functions: ['fax'] is not a list of functions (expected some ",
        ),
        ('http = "x"', "http: 'x' doesn't fit"),
        ('public_url = "video.example.org"', "public_url: 'video.example.org' is not an address (expected one like "),
        ('public_url = "https://u:p@x.example"', "public_url: 'https://u:p@x.example' is not an address"),
        ('[metrics]\nlisten = "9464"', "metrics.listen: '9464' is not an address to listen on (expected HOST:PORT"),
        (
            '[log]\nlevel = "loud"',
            "log.level: 'loud' doesn't fit (input should be 'debug', 'info', 'warning' or 'error')",
        ),
        ("[hosts]\nby_link = 3", "hosts.by_link: 3 doesn't fit"),
        (
            '[tenants.north]\norigins = ["https://p.example/"]',
            "tenants.north.origins.0: 'https://p.example/' is not an origin (expected scheme, host and port exactly",
        ),
        (
            '[tenants.north]\norigins = ["https://*.p.example"]',
            "tenants.north.origins.0: 'https://*.p.example' is not an",
        ),
        ('[tenants.north]\norigins = ["https://p.example; x"]', "'https://p.example; x' is not an origin"),
        ('[tenants.north]\norigins = ["https://p.example:99999"]', "'https://p.example:99999' is not an origin"),
        ('[tenants.north]\norigins = ["http://p.example"]', "'http://p.example' is not safe (expected https: "),
        (
            '[tenants.north]\norigin = ["https://p.example"]',
            "tenants.north.origin: there is no such setting (expected one",
        ),
        ("[tenants.North]\norigins = []", "tenants.North.[key]: 'North' doesn't fit"),
        ('[smtp]\nsender = "Region"', "smtp.sender: 'Region' is not a sender (expected one like "),
        (
            '[smtp]\nhost = "mail.region.example"\ntls = "none"\nsender = "a@b.example"',
            "smtp.tls: 'none' sends links unencrypted (expected starttls or tls; none only to this machine itself)",
        ),
        ('[smtp]\nuser = "u"\npassword_file = ""', "smtp.password_file: '' belongs to a user"),
        ('[smtp]\nhost = "mail.region.example"\nsender = ""', "smtp.sender: '' is missing (expected a neutral one"),
        ('[sms]\nurl = "http://sms.example/send"', "sms.url: 'http://sms.example/send' is not encrypted"),
        (
            '[sms]\nurl = "https://u:p@sms.example/send"',
            "is not an address (expected one like https://sms.region.example",
        ),
        ('[sms]\nbody = "{to}"', "sms.body: '{to}' isn't JSON"),
        ('[sms]\nformat = "form"\nbody = "to={to}"', "sms.body: 'to={to}' lacks {text}"),
        ("[", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_expectation(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "v.toml"
    file.write_text(text)
    with pytest.raises(BadSettings) as error:
        settings.load(file, environment={})
    assert str(error.value).startswith(f"{file}: ")
    assert sentence in str(error.value)


PROVIDER = """
[tenants.north.oidc.freja]
label = "Freja"
issuer = "https://idp.example"
client_id = "vardrum"
client_secret = "s-e-c-r-e-t"
levels = { "urn:loa3" = "loa3" }
"""


def test_a_tenant_has_providers_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    (tmp_path / "secret").write_text("from a file\n")
    other = PROVIDER.replace("freja", "siths").replace(
        'client_secret = "s-e-c-r-e-t"', f'client_secret_file = "{tmp_path}/secret"'
    )
    file.write_text(PROVIDER + other)
    found = settings.load(file, environment={})
    freja, siths = (found.tenants["north"].oidc[name] for name in ("freja", "siths"))
    assert (freja.secret(), siths.secret()) == ("s-e-c-r-e-t", "from a file")
    assert freja.prompt == "login"
    assert "s-e-c-r-e-t" not in repr(found)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('issuer = "https://idp.example"', "", "tenants.north.oidc.freja.issuer: is missing"),
        ('"https://idp', '"http://idp', "tenants.north.oidc.freja.issuer: 'http://idp.example' is not an issuer"),
        ('"loa3" }', '"high" }', "tenants.north.oidc.freja.levels.urn:loa3: 'high' doesn't fit"),
        ("levels =", "lvls =", "tenants.north.oidc.freja.lvls: there is no such setting (expected one of algorithms, "),
        ('levels = { "urn:loa3" = "loa3" }', "", "tenants.north.oidc.freja: has no levels (expected what its acr"),
        ("levels =", "staff = true\nlevels =", "tenants.north.oidc.freja: has no care_unit_claim (expected "),
        ('client_secret = "s-e-c-r-e-t"', "client_secret = 12", "tenants.north.oidc.freja.client_secret: doesn't fit"),
        ("levels =", 'client_secret_file = "x"\nlevels =', "freja: has both client_secret and client_secret_file"),
        (
            'client_secret = "s-e-c-r-e-t"',
            'client_secret_file = "/no/x"',
            "client_secret_file that can't be read: /no/x",
        ),
        ("levels =", 'algorithms = ["HS256"]\nlevels =', "tenants.north.oidc.freja.algorithms.0: 'HS256' doesn't fit"),
        ("oidc.freja", "oidc.document", "tenants.north.oidc.document"),
        ("oidc.freja", "oids.freja", "tenants.north.oids: there is no such setting (expected one of oidc"),
    ],
)
def test_a_provider_that_does_not_fit_is_said_without_its_secret(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    file = tmp_path / "v.toml"
    assert old in PROVIDER
    file.write_text(PROVIDER.replace(old, new))
    with pytest.raises(BadSettings) as error:
        settings.load(file, environment={})
    assert str(error.value).startswith(f"{file}: ")
    assert sentence in str(error.value)
    assert "s-e-c-r-e-t" not in str(error.value)


def test_portals_are_known_by_their_origin_as_browsers_write_it(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    said = ["https://Portal.Example:443", "https://portal.example", "http://localhost:8090", "http://[::1]:1"]
    file.write_text(f"[tenants.north]\norigins = {said}\n[tenants.south]\n")
    found = settings.load(file, environment={}).tenants
    assert found["north"].origins == ("https://portal.example", "http://localhost:8090", "http://[::1]:1")
    assert found["south"].origins == ()
    assert settings.load(environment={}).tenants == {}
    with pytest.raises(BadSettings, match="VARDRUM_TENANTS: there is no such setting"):
        settings.load(environment={"VARDRUM_TENANTS": "{}"})


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text('[http]\nport = -1\n[media]\nip = "x"\n')
    with pytest.raises(BadSettings) as error:
        settings.load(file, environment={"VARDRUM_METRICS__LISTEN": "x", "VARDRUM_TYPO": "1"})
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert any(line.startswith("environment: VARDRUM_METRICS__LISTEN: 'x'") for line in lines)
    assert any(line.startswith("environment: VARDRUM_TYPO: there is no such setting") for line in lines)


def test_there_is_a_shard_for_each_core_unless_said_otherwise() -> None:
    assert settings.load(environment={}).media_settings().shards == len(os.sched_getaffinity(0))
    assert settings.load(environment={"VARDRUM_MEDIA__SHARDS": "3"}).media_settings().shards == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="there is no such file"):
        settings.load(tmp_path / "none.toml", environment={})


def test_every_default_has_a_comment() -> None:
    text = settings.DEFAULTS.read_text()
    commented = False
    for line in text.splitlines():
        if line.startswith("#"):
            commented = True
        elif "=" in line:
            assert commented, line
            commented = False
    # Exactly the settings that there are: none forgotten, none left over.
    assert settings.load(environment={}).model_dump(mode="json").keys() == tomllib.loads(text).keys()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://u:unspoken@h/d", "is not an address of PostgreSQL"),
        ("postgresql://u:unspoken@h", "names no database"),
        ("postgresql://u:unspoken%@h/d", "can't be read"),
        ("postgresql://u:unspoken@h/d?nonsense=1", "can't be read"),
        ("postgresql://u:unspoken@h:port/d", "has a port that isn't a number"),
        ("postgresql://u:x/unspoken@h/d", "has an @ or / too many"),
        ("postgresql://u:1/unspoken@h/d", "has an @ or / too many"),
        ("postgresql://u:x@unspoken@h/d", "has an @ or / too many"),
        ("postgresql://u:unspoken@/d?host=h,i,j&port=1,2", "has not as many ports as hosts"),
        ("postgresql://u:unspoken@h/d\x07", "is not an address of PostgreSQL"),
    ],
)
def test_what_is_wrong_with_the_database_is_named_and_its_password_is_not(address: str, said: str) -> None:
    with pytest.raises(BadSettings) as caught:
        settings.load(environment={"VARDRUM_DATABASE_URL": address})
    assert str(caught.value).startswith(f"environment: VARDRUM_DATABASE_URL: {said}")
    assert "unspoken" not in str(caught.value)
    with pytest.raises(BadSettings) as caught:
        settings.load(overrides={"database_url": [address]}, environment={})
    assert "unspoken" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("postgresql://u:unspoken@h1,h2:5433/d?sslpassword=unspoken", "postgresql://u:***@h1,h2:5433/d"),
        ("postgresql://h1,h2/d?port=5433&user=u&password=unspoken", "postgresql://u:***@h1:5433,h2:5433/d"),
        ("postgres:///d?host=/run/postgresql", "postgresql:///run/postgresql/d"),
    ],
)
def test_the_database_is_shown_without_its_password(address: str, shown: str) -> None:
    found = settings.load(environment={"VARDRUM_DATABASE_URL": address})
    assert found.model_dump(mode="json")["database_url"] == shown
    assert "unspoken" not in repr(found)
    assert found.database == (address or found.data / "vardrum.db")


def test_the_address_of_the_database_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "address"
    address = "postgresql://u:unspoken@h/d"
    file.write_text(address + "\n")
    named = {"VARDRUM_DATABASE_URL_FILE": str(file)}
    assert settings.load(environment=named).database == address
    for change, said in (
        ({"VARDRUM_DATABASE_URL": address}, f"environment: database_url_file: '{file}' is one too many"),
        ({"VARDRUM_DATABASE_URL_FILE": str(tmp_path)}, f"environment: database_url_file: '{tmp_path}' can't be read"),
    ):
        with pytest.raises(BadSettings) as caught:
            settings.load(environment=named | change)
        assert str(caught.value).startswith(said)
    # Not SQLite then: an empty secret is a mistake, and another database a bad surprise.
    for text, said in (("\n", "is empty"), ("postgresql://u:x/unspoken@h/d", "has an @ or / too many")):
        file.write_text(text)
        with pytest.raises(BadSettings, match=said) as caught:
            settings.load(environment=named)
        assert "unspoken" not in str(caught.value)
