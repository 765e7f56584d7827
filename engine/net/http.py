"""What every HTTP client of ours needs to know: loopback hosts, and how long to wait."""

from __future__ import annotations

import email.utils
import ipaddress
from datetime import datetime


def parse_retry_after(value: str | None, *, at: datetime) -> float | None:
    """Seconds from `at` that a Retry-After header asks for: a number or an HTTP date, else None."""
    if value is None:
        return None
    value = value.strip()
    if value.replace(".", "", 1).isascii() and value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - at).total_seconds())


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine: then no proxy of the environment applies."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
