# Copyright (c) 2026 queueops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret looks like, by the name that it has and by the text itself.

A reference C($(NAME)) is no secret: Kubernetes puts the value of another variable in its place.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from .masks import MASK
from .scalars import MISPLACED

#: C($(NAME)) as Kubernetes reads it; two dollar signs make it plain text.
_NAME = r"[-._A-Za-z][-._A-Za-z0-9]*"
REFERENCE_TEXT = rf"\$\({_NAME}\)"
_REFERENCE = re.compile(rf"\$\$|\$\(({_NAME})\)")
_REFERENCES = f"(?:{REFERENCE_TEXT})+"

#: A URL that carries a password: C(redis://user:password@host), C(amqp://:password@host).
#: A port is no password, so C(http://host:80/?mail=a@b) is none of these, and neither is a reference.
#: The scheme has a bound, or a long text without a URL would take a time that grows with the square of its length.
_URL_WITH_PASSWORD = re.compile(
    rf"[a-z][a-z0-9+.-]{{0,30}}://(?![^\s/@:]+:[0-9]+[/?#])[^\s/@:]*:(?!{_REFERENCES}@)[^\s]+@", re.IGNORECASE
)
_WORD = re.compile(r"\S+")

#: Names that mean a secret wherever they are: as a key of the inventory, and in the metadata of a trigger.
_SECRET_KEY = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|API_?KEY|SECRET_KEY|PRIVATE_KEY|SECRET_ACCESS_KEY"
    r"|FLOWER_BASIC_AUTH)$",
    re.IGNORECASE,
)

#: What may come after the word that tells: C(API_KEY_2), C(SECRET_KEY_BASE), C(TOKEN_OLD).
_TAIL = r"(?:_?[0-9]+(?![0-9])|_(?:BASE|BASE64|B64|OLD|NEW|NEXT|PREVIOUS|FALLBACKS?|PRIMARY|SECONDARY))*$"
#: What a key must be of, to be one that nobody may read.
_KEY_OF = (
    "ACCESS|ACCOUNT|ADMIN|API|APP|AES|AUTH|COOKIE|CRYPTO|DECRYPTION|DEPLOY|ENCRYPT|ENCRYPTION|FERNET|GPG|HMAC|INGEST"
    "|INGESTION|JWT|LICENSE|MASTER|PGP|PRIVATE|RSA|SDK|SECRET|SERVICE|SESSION|SHARED|SIGNATURE|SIGNING|SSH|STORAGE"
    "|WEBHOOK"
)
#: Endings of names of environment variables that hold a secret. Their values may be numbers, too.
_SECRET_VARIABLE = re.compile(
    r"(?:PASSWORDS?|PASSWD|PASSPHRASE|PASSCODE|(?:^|_|DB|PG)PASS|(?:^|_)PW|(?<!OLD)(?<!^)PWD|SECRETS?|(?:^|_)CREDENTIALS?|(?:^|_)CREDS"
    rf"|(?:^|_)(?:{_KEY_OF})_?KEYS?|(?:^|_)(?:SALT|PEPPER)|ERLANG_COOKIE"
    r"|(?:BASIC|DOCKER|HTTP|MQTT|NPM|PROXY|REDIS|REDISCLI|REGISTRY|SMTP)_?AUTH)" + _TAIL
)
#: The same for names that count things as often: C(MAX_TOKENS) is a number.
_TOKEN_VARIABLE = re.compile(r"TOKENS?" + _TAIL)
#: A PIN is one where it is a number and long enough: C(GPIO_PIN: 17) is a pin of a chip, C(VERSION_PIN: v1.2.3) holds
#: a version, and that of a certificate is for everybody. A PINCODE is a postal code.
_PIN_VARIABLE = re.compile(r"(?:^|_)(?<!CERT_)(?<!CERTIFICATE_)(?<!KEY_)(?<!SSL_)(?<!TLS_)PINS?(?:_CODES?)?" + _TAIL)
_PINS = re.compile(r"[0-9]{4,12}(?:[,; ]+[0-9]{4,12})*")
#: A data source name is secret where it holds a login: C(https://key@sentry.example.org/1).
_SOURCE_VARIABLE = re.compile(r"(?:^|_)(?:DSN|CONNECTION_?STRING|CONNSTR)" + _TAIL)
_LOGIN_IN_SOURCE = re.compile(rf"(?:^|//)(?!{_REFERENCES}@)[^\s/@]+@")
#: Any other key, where its value looks drawn by lot.
_ANY_KEY = re.compile(r"(?:^|_)KEY" + _TAIL)
_OPEN_KEY = re.compile(r"(?:^|_)(?:PUBLIC|PUBLISHABLE|SITE)_KEY" + _TAIL)
_RANDOM = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[A-Za-z0-9+/=_-]{20,}")

#: Texts that hold a secret whatever their name.
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
#: Beginnings by which the services that issue tokens, and those who scan for leaked ones, know them.
_KNOWN_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40}|glpat-[\w-]{20}|xox[abeoprs]-[0-9A-Za-z-]{10}"
    r"|(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16}|AKIA[0-9A-Z]{16}(?![0-9A-Z])|AIza[\w-]{35}|SG\.[\w-]{16,64}\.[\w-]{16}"
    r"|eyJ[\w-]{8,4000}\.eyJ[\w-]{8}|https://hooks\.slack\.com/services/T)"
)
_PASSWORD_IN_TEXT = re.compile(
    rf"(?:^|[\s;&?,])(?:password|passwd|pwd|accountkey|sharedaccesskey)\s*=\s*(?!{_REFERENCES}(?:$|[\s;&,]))[^\s;&,]+",
    re.IGNORECASE,
)
_SIGNS = (_PRIVATE_KEY, _PASSWORD_IN_TEXT, _KNOWN_TOKEN)

#: Values that are no secret whatever their name: switches, and paths of files.
_SWITCH = re.compile(r"(?:true|false|yes|no|on|off|[01])?", re.IGNORECASE)
_PATH = re.compile(r"(?:file://)?~?(?:/[\w.@+-]+){2,}/?")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
#: References alone, also as the password of a login: C(user:$(PASSWORD)).
_REFERENCE_ONLY = re.compile(rf"(?:[^\s:/@]*:|[a-z][a-z0-9+.-]*://[^\s/@:]*:?)?{_REFERENCES}(?:@\S*)?", re.IGNORECASE)


_KEY_BLOCK = re.compile(
    r"(?:-----BEGIN [A-Z ]*PRIVATE KEY-----|\A)(?:(?!-----BEGIN).)*?(?:-----END [A-Z ]*PRIVATE KEY-----)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
    re.DOTALL,
)
#: What the API puts behind the name of a field, of which it says what is wrong.
_WORD_OF_API = (
    r"(?!\s*(?:Required|Invalid|Forbidden|Unsupported|Duplicate|Not found|Too (?:long|many)|Internal error)\b)"
)
#: A name begins where a word does, and is looked at once, so that the time grows with the text.
_ASSIGNED = re.compile(rf"(?<![\w.-])([\w.-]+)[\"']?\s*[=:]\s*{_WORD_OF_API}")
_ASSIGNED_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,;&})\]]+")
#: Letters of a value by which it is judged, and of the end of a name.
_ENOUGH = 200
_LOGIN_HEADER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)


def has_url_with_password(text: str) -> bool:
    """Whether a text holds a URL that carries a password."""
    return any(True for _found in _urls_with_password(text))


def without_url_passwords(text: str, mask: str) -> str:
    """A text whose URLs with a password have the mask in place of their logins."""
    parts, position = [], 0
    for start, end in _urls_with_password(text):
        parts.append(f"{text[position:start]}{text[start:end].partition('://')[0]}://{mask}@")
        position = end
    return "".join([*parts, text[position:]])


def _urls_with_password(text: str) -> Iterator[tuple[int, int]]:
    """Where each of them begins, and where its login ends.

    A word is searched up to its last '@' only, where every try that goes so far succeeds: the time grows with the text.
    """
    for word in _WORD.finditer(text) if "://" in text else ():
        last = text.rfind("@", *word.span())
        found = _URL_WITH_PASSWORD.search(text, word.start(), last + 1) if last >= 0 else None
        if found:
            yield found.span()


def references(text: str) -> list[str]:
    """Names that a text refers to, in the syntax of Kubernetes."""
    return [found[1] for found in _REFERENCE.finditer(text) if found[1]]


def names_secret(name: str) -> bool:
    """Whether a key is one of a secret: C(redis_password), C(sentinelPassword), C(API_TOKEN)."""
    return bool(_SECRET_KEY.search(_split(name)))


def holds_login(address: str) -> bool:
    """Whether an address that has no place for a login may hold one. Typing mistakes take it apart in any way."""
    return "@" in address or MISPLACED in address


def is_secret_header(name: str) -> bool:
    """Whether an HTTP header carries a login."""
    plain = name.strip().lower()
    return plain in ("authorization", "proxy-authorization", "cookie") or names_secret(plain.replace("-", "_"))


def variable_names_secret(name: str) -> bool:
    """Whether an environment variable is one that holds a secret, as far as its name tells."""
    plain = _plain(name)
    return any(named.search(plain) for named in (_SECRET_VARIABLE, _TOKEN_VARIABLE, _PIN_VARIABLE))


def looks_secret(name: str, value: Any) -> bool:
    """Whether an environment entry carries a secret in plain sight: by its name, or by what its text holds."""
    text = value if isinstance(value, str) else ""
    if not text:
        return False
    return MISPLACED in text or holds_secret(text) or (_is_named(_plain(name), text) and not _is_harmless(text))


def holds_secret(text: str) -> bool:
    """Whether a text holds a secret whatever its name: a password in a URL or in a list of options, a private key."""
    return bool(has_url_with_password(text) or any(sign.search(text) for sign in _SIGNS))


def plain_secret(name: str, key: str) -> str:
    """What is wrong with an environment entry that shows a secret, and where its value belongs.

    :param key: the key it is written under: only the worker's own container has secret_env.
    """
    place = "secret_env" if key == "env" else "a Secret, and refer to it with valueFrom.secretKeyRef"
    part = "" if variable_names_secret(name) else f" (or only its secret part, and write $(NAME) for that in {name})"
    return (
        f"{name} looks like a secret, and anyone who can read Deployments would see it; move it to {place}{part}, or "
        "accept_risks: [plain-secret] if it is none."
    )


def without_values(text: str, values: Iterable[str]) -> str:
    """A text without these secret values, however they are written in it."""
    spellings = {spelling for value in values for spelling in _spellings(value)}
    for value in sorted(spellings, key=len, reverse=True):
        # A very short value would cut words apart; one that stands alone is still covered.
        pattern = re.escape(value) if len(value) > 3 else rf"(?<![\w-]){re.escape(value)}(?![\w-])"
        text = re.sub(pattern, MASK, text)
    return text


def _spellings(value: str) -> set[str]:
    """A value as it is, as JSON and Python write it inside of a text, in a URL, and as a Secret holds it."""
    encoded = base64.b64encode(value.encode()).decode()
    every = {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), encoded}
    return {text for text in every if text}


def without_secret_values(text: str) -> str:
    """A text of others, such as the end of a log, without what looks like a secret."""
    found = without_url_passwords(text, MASK)
    found = _KEY_BLOCK.sub(MASK, found)
    found = _LOGIN_HEADER.sub(lambda login: f"{login[1]} {MASK}", found)
    parts, position = [], 0
    # What follows a name may be another name with its value, so the search goes on behind the sign.
    while match := _ASSIGNED.search(found, position):
        start, name = match.end(), match[1].lstrip("-.0123456789")
        end = start
        if _tells_secret(name, found[start : start + _ENOUGH]):
            value = _ASSIGNED_VALUE.match(found, start)
            end = value.end() if value else start
        parts.append(found[position:start] + (MASK if end > start else ""))
        position = end
    return "".join([*parts, found[position:]])


def _tells_secret(name: str, rest: str) -> bool:
    value = _ASSIGNED_VALUE.match(rest)
    return (
        names_secret(name)
        or variable_names_secret(name)
        or (value is not None and looks_secret(name, value[0].strip("\"'")))
    )


def _is_named(name: str, text: str) -> bool:
    if _SECRET_VARIABLE.search(name):
        return True
    if _TOKEN_VARIABLE.search(name):
        return not _NUMBER.fullmatch(text)
    if _PIN_VARIABLE.search(name):
        return bool(_PINS.fullmatch(text.strip()))
    if _SOURCE_VARIABLE.search(name):
        return bool(_LOGIN_IN_SOURCE.search(text))
    return bool(_ANY_KEY.search(name) and not _OPEN_KEY.search(name) and _RANDOM.fullmatch(text))


def _is_harmless(text: str) -> bool:
    return bool(_SWITCH.fullmatch(text) or _PATH.fullmatch(text) or _REFERENCE_ONLY.fullmatch(text))


def _split(name: str) -> str:
    """camelCase as words with lines between them."""
    # Endings decide.
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[-_ENOUGH:])


def _plain(name: str) -> str:
    """C(dbPassword) and C(db-password) as C(DB_PASSWORD)."""
    return re.sub(r"[-.]", "_", _split(name)).upper()
