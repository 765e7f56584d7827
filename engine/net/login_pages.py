"""Tells a login form from the page that was asked for: `fetching.py` calls it on what came."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

_HEAD = 256 * 1024  # bytes of a page that are looked at
_PASSWORD = re.compile(rb"<input\b[^>]*\btype\s*=\s*[\"']?password\b", re.IGNORECASE)
_FORM = re.compile(rb"<form\b", re.IGNORECASE)
_SAML = re.compile(
    rb"<input\b[^>]*\bname\s*=\s*[\"']?(?:SAMLRequest|wctx|RelayState)\b", re.IGNORECASE
)
_UNSEEN = re.compile(
    rb"<(script|style|noscript|title)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL
)
_LOGIN = re.compile(
    r"(?:user|account|auth|wp|session)?[-_]?(?:log[-_]?[io]n|sign[-_]?in|sso|saml2?|oauth2?|authorize"
    r"|authenticate|adfs|cas|sessions?)(?:\.\w+)?",
    re.IGNORECASE,
)
_BACK = frozenset(
    (
        *(
            "next",
            "continue",
            "return",
            "returnto",
            "return_to",
            "returnurl",
            "redirect",
            "service",
        ),
        *(
            "redirect_to",
            "redirect_uri",
            "redirecturl",
            "relaystate",
            "samlrequest",
            "dest",
            "from",
        ),
        *("destination", "back", "goto", "url", "os_destination", "came_from", "client_id"),
    )
)
FEW = 80  # words: a page that has more beside its form is a page


def asks_for_login(asked: str, url: str, mime: str, data: bytes) -> bool:
    """Whether what came from `url` asks for a login before it shows what is at `asked`.

    After a redirect a field for a password is enough, or an address of a login that knows the way
    back. A page that was asked for itself is one only where it holds little else than the form.
    """
    head = data[:_HEAD]
    if mime not in {"", "text/html", "application/xhtml+xml"} or b"<" not in head:
        return False
    has_password = _PASSWORD.search(head) is not None
    words = len(_UNSEEN.sub(b" ", head).split())
    if (has_password or _SAML.search(head)) and words <= FEW:
        return True
    if _page(asked) == _page(url):
        return False
    if has_password and (words <= 5 * FEW or _is_login(url)):
        return True
    return (
        _is_login(url) and not _is_login(asked) and (_FORM.search(head) is not None or words <= FEW)
    )


def _page(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc.lower().removeprefix("www."), parts.path.rstrip("/")


def _is_login(url: str) -> bool:
    """Whether the end of a path says so, or a part of it with a way back."""
    parts = urlsplit(url)
    names = [name for name in parts.path.split("/") if name]
    if names and _LOGIN.fullmatch(names[-1]):
        return True
    keys = {key.lower() for key in parse_qs(parts.query)}
    return bool(keys & _BACK) and any(_LOGIN.fullmatch(name) for name in names)
