"""Signatures as the Standard Webhooks specification shows them, and secrets that change."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from vardrum.control.keyring import Keyring, Unreadable
from vardrum.control.webhooks import signing
from vardrum.control.webhooks.signing import Secret

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_the_signature_is_that_of_the_known_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    found = signing.headers([Secret(key)], "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at)
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_portals_verify_with_the_new_and_for_a_day_with_the_former_secret() -> None:
    now = datetime.now(UTC)
    first = signing.first(os.urandom)
    both = signing.rotated(first, now, os.urandom)
    body = '{"name": "Åsa"}'.encode()
    for at, secrets in ((now, both), (now + timedelta(hours=23, minutes=59), both)):
        signatures = signing.headers(secrets, "evt_1", body, at)["webhook-signature"].split(" ")
        assert len(signatures) == 2
    sent = signing.headers(both, "evt_1", body, now)
    for secret in (first[0], both[0]):
        assert Webhook(secret.shown).verify(body, sent) == {"name": "Åsa"}
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.first(os.urandom)[0].shown).verify(body, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(both[0].shown).verify(body + b" ", sent)
    late = signing.headers(both, "evt_1", body, now + timedelta(hours=24))
    assert " " not in late["webhook-signature"]


def test_rotating_again_keeps_when_the_former_ends_and_a_bounded_number() -> None:
    secrets = signing.first(os.urandom)
    for hour in range(10):
        secrets = signing.rotated(secrets, NOW + timedelta(hours=hour), os.urandom)
    assert len(secrets) == signing.MAX_SECRETS
    assert [one.until for one in secrets] == [
        None, *(NOW + timedelta(hours=24 + hour) for hour in (9, 8, 7, 6)),
    ]  # fmt: skip
    assert signing.rotated(secrets, NOW + timedelta(days=9), os.urandom)[1].until == NOW + timedelta(days=10)


def test_secrets_open_for_their_own_webhook_only() -> None:
    ring = Keyring({"k1": bytes(32)}, "k1")
    secrets = signing.rotated(signing.first(os.urandom), NOW, os.urandom)
    sealed = signing.seal(secrets, ring, "hook_1")
    assert signing.unseal(sealed, ring, "hook_1") == secrets
    assert secrets[0].key not in sealed
    with pytest.raises(Unreadable):
        signing.unseal(sealed, ring, "hook_2")


def test_a_secret_is_as_long_as_the_specification_wants() -> None:
    [secret] = signing.first(os.urandom)
    assert secret.shown.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.shown.removeprefix("whsec_"))) <= 64
