"""What every section of the settings is made of: the base class, and values with a form.

A validator's message ends the sentence "give …" of a refused start (`engine/config.py`).
"""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

DATABASE_SCHEMES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+psycopg")
BROKER_SCHEMES = ("redis", "rediss")


PROBE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class SettingsSection(BaseModel):
    """A section of the tree; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("a URL that starts with http:// or https://, or an empty text")
    return value.rstrip("/")


def _database_url(value: str) -> str:
    if value and urlsplit(value).scheme not in DATABASE_SCHEMES:
        raise ValueError(
            "sqlite:///<file>, postgresql://<user>:<password>@<host>/<name>, or an empty text"
        )
    return value


def _broker(value: str) -> str:
    allowed = ValueError('"memory" or redis://<host>:<port>/<number>')
    if value == "memory":
        return value
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 (raises where it is no number)
    except ValueError:  # the port is no number
        raise allowed from None
    if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
        raise allowed
    return value


def _web_socket_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"ws", "wss"} or not parts.hostname):
        raise ValueError("ws://<host>:<port> or wss://<host>")
    return value.rstrip("/")


def _origins(value: str) -> str:
    origins = value.lower().replace(",", " ").split()
    for origin in origins:
        parts = urlsplit(origin)
        bare = f"{parts.scheme}://{parts.netloc}"
        if parts.scheme not in {"http", "https"} or not parts.hostname or origin != bare:
            raise ValueError(
                "origins such as https://app.example.com, separated by commas: no path, no *"
            )
    return " ".join(origins)


def parse_probes(text: str) -> list[tuple[str, str]]:
    """`crm=https://crm.example.com/health, queue=tcp://mq:5672` as names and addresses.

    Raises `ValueError` that says what does not fit.
    """
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, address = item.partition("=")
        parts = urlsplit(address)
        is_tcp = parts.scheme == "tcp" and parts.port is not None and not parts.path.strip("/")
        if not equals or not PROBE_NAME.fullmatch(name) or name in found or not parts.hostname:
            raise ValueError("names with addresses, such as crm=https://crm.example.com/health")
        if not is_tcp and parts.scheme not in {"http", "https"}:
            raise ValueError("addresses such as https://host/path or tcp://host:port")
        found[name] = address
    return list(found.items())


def _probes(value: str) -> str:
    parse_probes(value)
    return value


def _mail_address(value: str) -> str:
    address = parseaddr(value)[1]
    name, at, domain = address.partition("@")
    plain = value.isascii() and value.isprintable() and " " not in address
    if value and not (plain and name and at and domain and "@" not in domain):
        raise ValueError("an address such as kb@example.com or Scrubjay <kb@example.com>")
    return value


def _issuer(value: str) -> str:
    _http_url(value)
    return value  # a trailing slash is part of an issuer's name


HttpUrl = Annotated[str, AfterValidator(_http_url)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
BrokerUrl = Annotated[str, AfterValidator(_broker)]
WebSocketUrl = Annotated[str, AfterValidator(_web_socket_url)]
Origins = Annotated[str, AfterValidator(_origins)]  # separated by one blank
ProbeAddresses = Annotated[str, AfterValidator(_probes)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
Issuer = Annotated[str, AfterValidator(_issuer)]
