# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which environment entries count as secrets in plain sight."""

from __future__ import annotations

import pytest
from ansible_collections.queueops.celery.plugins.module_utils._schema.secret_signs import (
    looks_secret,
    references,
    without_secret_values,
)

SECRET_NAMES = [
    "PASSWORD", "DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "DB_PASS", "DBPASS", "SMTP_PASS", "dbPassword",
    "db-password", "REDIS_PASSWD", "KEY_PASSPHRASE", "API_KEY", "apiKey", "DD_API_KEY", "DATADOG_APIKEY",
    "FERNET_KEY", "AIRFLOW__CORE__FERNET_KEY", "SECRET_KEY", "SECRET_KEY_BASE", "DJANGO_SECRET_KEY", "PRIVATE_KEY",
    "SIGNING_KEY", "ENCRYPTION_KEY", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "NEW_RELIC_LICENSE_KEY", "JWT_KEY",
    "GITHUB_TOKEN", "authToken", "API_TOKEN_2", "SLACK_TOKENS", "CLIENT_SECRET", "OAUTH_CLIENT_SECRET_OLD",
    "APP_CREDENTIALS", "HASH_SALT", "REDISCLI_AUTH", "FLOWER_BASIC_AUTH", "ERLANG_COOKIE", "ADMIN_PASSWORDS",
    "vault_password", "DB_PW", "LDAP_BIND_PW",
]  # fmt: skip
OTHER_NAMES = [
    "PUBLIC_KEY_PATH", "DB_PASSWORD_FILE", "PRIVATE_KEY_PATH", "JWT_PUBLIC_KEY", "KEYSPACE", "MONKEY",
    "PASSENGER_APP_ENV", "TOKENIZERS_PARALLELISM", "AWS_ACCESS_KEY_ID", "CELERY_TASK_KEY_PREFIX", "AUTH_USER_MODEL",
    "PASSWORD_HASHER", "PWD", "OLDPWD", "BYPASS", "COMPASS", "ROUTING_KEY", "PARTITION_KEY", "CACHE_KEY", "TOKEN_URL",
    "SECRETS_DIR", "KEYBOARD", "PASSWORD_RESET_TIMEOUT", "SECRET_NAME", "API_KEY_HEADER", "AUTHOR",
    "SENTRY_ENVIRONMENT", "STRIPE_PUBLISHABLE_KEY", "PINNED", "SPINNER", "OPENING", "SPIN", "PINNED_VERSION",
    "MAPPING", "CERT_PINS", "PUBLIC_KEY_PIN", "PIN_LENGTH", "AWS_REGION", "AWS_DEFAULT_REGION",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_of_a_secret_is_seen_in_every_way_of_writing_it(name: str) -> None:
    assert looks_secret(name, "hunter2")


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_that_only_sounds_like_one_is_none(name: str) -> None:
    assert not looks_secret(name, "hunter2")


@pytest.mark.parametrize("value", ["", "true", "False", "no", "1", "/run/secrets/token", "$(OTHER)", "$(A)$(B)"])
@pytest.mark.parametrize("name", ["API_TOKEN", "DB_PASSWORD", "FERNET_KEY"])
def test_a_switch_a_path_and_a_reference_are_no_secrets(name: str, value: str) -> None:
    assert not looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
        ("DATABASE_URL", "postgres://shop:hunter2$(REST)@db/shop"),
        ("DATABASE_URL", "postgres://shop:$$(DB_PASSWORD)@db/shop"),
        ("SENTRY_DSN", "https://0123abcd@sentry.example.org/1"),
        ("DB_CONNECTION_STRING", "Server=db;User=shop;Password=hunter2"),
        ("LIBPQ", "host=db password=hunter2"),
        ("CERTIFICATE", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n"),
        ("STRIPE_KEY", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
        ("DB_PASSWORD", "hunter2$(REST)"),
        ("DB_PASSWORD", "123456"),
        *((name, "4711") for name in ("PIN", "ADMIN_PIN", "userPin", "CARD_PINS", "PIN_CODE", "PIN_OLD")),
        ("SIM_PIN", "123456789012"),
        ("CARD_PINS", "4711,0815"),
    ],
)
def test_a_text_that_holds_a_secret_is_seen(name: str, value: str) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://shop:$(DB_PASSWORD)@db/shop"),
        ("DATABASE_URL", "postgres://$(DB_USER):$(DB_PASSWORD)@db/shop"),
        ("DATABASE_URL", "postgres://shop@db/shop"),
        ("CELERY_BROKER_URL", "redis://:$(REDIS_PASSWORD)@redis:6379/0"),
        ("SENTRY_DSN", "https://$(SENTRY_KEY)@sentry.example.org/1"),
        ("DB_DSN", "postgres://db/shop"),
        ("BASIC_AUTH", "ops:$(OPS_PASSWORD)"),
        ("LIBPQ", "host=db password=$(DB_PASSWORD) user=shop"),
        ("SITE", "http://host:80/?mail=a@b"),
        ("MAX_TOKENS", "4096"),
        ("GPIO_PIN", "17"),
        ("LED_PIN", "GPIO17"),
        ("CPU_PIN", "0-3"),
        ("VERSION_PIN", "v1.2.3"),
        ("COMMIT_PIN", "1234567890123"),
        ("DEFAULT_PINCODE", "110001"),
        ("SORT_KEY", "created_at"),
    ],
)
def test_a_text_that_only_refers_to_a_secret_is_none(name: str, value: str) -> None:
    assert not looks_secret(name, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a$(B)c$(D_1)", ["B", "D_1"]),
        ("$$(B)", []),
        ("$$$(B)", ["B"]),
        ("$(date +%s) $( B ) $(", []),
        ("$(a.b-c)", ["a.b-c"]),
    ],
)
def test_references_are_read_as_kubernetes_reads_them(text: str, expected: list[str]) -> None:
    assert references(text) == expected


# What a log shows

LOGGED = [
    "connecting to redis://:hunter2@redis:6379/0",
    "amqp://shop:hunter2@rabbit:5672//: refused",
    "django.core: DB_PASSWORD=hunter2 is too short",
    'settings = {"SECRET_KEY": "hunter2", "DEBUG": true}',
    "{'password': 'hunter2'}",
    "kwargs(api_token=hunter2, retries=3)",
    "Authorization: Bearer hunter2",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nrefused",
    "hunter2\n-----END PRIVATE KEY-----",
    "Server=db;Password=hunter2;Port=5432",
]


@pytest.mark.parametrize("text", LOGGED)
def test_what_looks_like_a_secret_is_taken_out_of_a_log(text: str) -> None:
    shown = without_secret_values(text)
    assert "hunter2" not in shown
    assert "********" in shown


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'SITE'",
        'File "/app/shop/settings.py", line 12, in <module>',
        "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused.",
        "ModuleNotFoundError: No module named 'shop.tokens'",
        "https://docs.example.org:8080/a?b=c@d",
    ],
)
def test_the_rest_of_a_log_stays_as_it_is(text: str) -> None:
    assert without_secret_values(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "a1" * 18,
        "glpat-" + "a1" * 10,
        "xoxb-1234567890-abc",
        "sk_" + "live_" + "a1" * 8,
        "AKIA" + "A1" * 8,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x",
        "https://hooks.slack.com/services/T0/B0/x",
    ],
)
def test_a_token_that_is_known_by_its_beginning_is_a_secret_whatever_its_name(text: str) -> None:
    assert looks_secret("VALUE", text)
    assert looks_secret("OPTIONS", f"first,{text}")


@pytest.mark.parametrize("text", ["risk_live_abcdefghijklmnop", "AKIA", "eyJ", "SG.eu", "https://hooks.slack.com/docs"])
def test_a_text_that_only_begins_like_a_token_is_none(text: str) -> None:
    assert not looks_secret("VALUE", text)


@pytest.mark.parametrize(
    "text", ["--password=hunter2", "1.password=hunter2", 'x: {"spec.token": "hunter2"}', "PGPASSWORD = hunter2"]
)
def test_a_value_behind_a_name_of_a_secret_is_hidden_in_a_text(text: str) -> None:
    assert "hunter2" not in without_secret_values(text)


def test_what_the_api_says_of_a_field_is_shown() -> None:
    said = "spec.automountServiceAccountToken: Invalid value; spec.imagePullSecrets: Required value"
    assert without_secret_values(said) == said
