"""The cookies of signed-in browsers, and proof that a page of ours sent a request.

A session's cookie has the name `__Host-sj_session` wherever the connection is encrypted: browsers
then take it from this host alone. Over plain HTTP, which only a loopback address should use, they
would refuse that name. A cookie comes with every request a browser sends, whoever caused it, so
what changes something also needs our own `Origin` and a token that only our pages know.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import quote, unquote

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from api.problems import HttpRefusal
from engine import clock
from engine.domain import Principal
from engine.errors import Unauthenticated
from engine.people.sessions import SignedIn, SignInClient
from engine.secrets import Secrets

SESSION, DEVICE = "sj_session", "sj_device"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEVICE_S = 180 * 24 * 3600
COOKIE_MAX = 1000  # characters


def session_cookie(connection: HTTPConnection) -> str:
    """The secret of a browser's session; empty where it sent none that can be one."""
    return _cookie(connection, SESSION)


def set_signed_in(response: Response, connection: HTTPConnection, signed_in: SignedIn) -> None:
    """Give the browser a new session: its former one is forgotten."""
    lasts_s = int((signed_in.expires_at - clock.now()).total_seconds())
    _set(response, connection, SESSION, signed_in.cookie, lasts_s)
    if signed_in.device:
        _set(response, connection, DEVICE, signed_in.device, DEVICE_S)


def clear_session(response: Response, connection: HTTPConnection) -> None:
    """Make the browser forget its session."""
    for name in (SESSION, f"__Host-{SESSION}"):
        secure = name.startswith("__Host-")
        if secure == is_encrypted(connection):
            response.delete_cookie(name, secure=secure, httponly=True, samesite="lax")


def attempt_cookie(connection: HTTPConnection, name: str) -> str:
    """What a browser keeps while it signs in elsewhere; empty where it keeps nothing of this name."""
    return _cookie(connection, name)


def set_attempt(
    response: Response, connection: HTTPConnection, name: str, secret: str, lasts_s: int
) -> None:
    """Let the browser keep what shows that it began a sign-in elsewhere."""
    _set(response, connection, name, secret, lasts_s)


def clear_attempt(response: Response, connection: HTTPConnection, name: str) -> None:
    """Make the browser forget a sign-in elsewhere, which has ended."""
    secure = is_encrypted(connection)
    full = f"__Host-{name}" if secure else name
    response.delete_cookie(full, secure=secure, httponly=True, samesite="lax")


def client_of(connection: HTTPConnection) -> SignInClient:
    """Where a request comes from, for limits and for the list of sessions."""
    return SignInClient(
        address=address_of(connection),
        agent=connection.headers.get("user-agent", "")[:400],
        device=_cookie(connection, DEVICE),
    )


def csrf_token(secrets: Secrets, principal: Principal) -> str:
    """What our pages send with a change, for somebody signed in with a browser; else empty."""
    if principal.session_id is None:
        return ""
    return secrets.sign("sessions", f"csrf:{principal.session_id}")


def require_own_page(
    secrets: Secrets, principal: Principal, connection: HTTPConnection, token: str | None
) -> None:
    """Return for what only reads, or comes from a page of ours; else raise `HttpRefusal` 403.

    `RequestGate` has refused every foreign `Origin` by then.
    """
    if connection.scope["method"] in SAFE_METHODS:
        return
    require_origin(connection)
    try:
        is_ours = secrets.verify("sessions", token or "") == f"csrf:{principal.session_id}"
    except Unauthenticated:
        is_ours = False
    if not is_ours:
        raise HttpRefusal(
            403, "This page is too old or not ours: reload it and try again.", code="wrong_origin"
        )


def require_origin(connection: HTTPConnection) -> None:
    """Refuse a form that doesn't say which page it was on; browsers always do."""
    if not connection.headers.get("origin"):
        raise HttpRefusal(403, "This form needs an Origin header.", code="wrong_origin")


def sign_in_path(request: Request) -> str:
    """The sign-in page, which leads back to what was asked for."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"/sign-in?return_to={quote(asked, safe='/')}"


def own_path(value: str) -> str:
    """`value` if it is a path of this server, else `/`: a sign-in leads to no other site."""
    plain = value
    for _ in range(3):  # as often as browsers or proxies may decode it
        plain = unquote(plain)
    for text in (value, plain):
        is_path = text.startswith("/") and not text.startswith(("//", "/\\"))
        if not is_path or "\\" in text or not text.isprintable() or "//" in text[:3]:
            return "/"
    return value if value.isascii() and len(value) <= 2000 else "/"


def is_encrypted(connection: HTTPConnection) -> bool:
    """Whether the browser's connection is: by the address people use, or by ours without a proxy."""
    public_url = connection.app.state.service.settings.server.public_url
    scheme = public_url.partition(":")[0] if public_url else connection.url.scheme
    return bool(scheme == "https")


def _cookie(connection: HTTPConnection, name: str) -> str:
    chosen = f"__Host-{name}" if is_encrypted(connection) else name
    value = connection.cookies.get(chosen, "")
    return value if len(value) <= COOKIE_MAX else ""


def _set(
    response: Response, connection: HTTPConnection, name: str, value: str, max_age: int
) -> None:
    secure = is_encrypted(connection)
    response.set_cookie(
        f"__Host-{name}" if secure else name,
        value,
        max_age=max_age,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def address_of(connection: HTTPConnection) -> str:
    """The peer, or where a proxy of ours (loopback or a private network) says it came from."""
    peer = connection.client.host if connection.client is not None else ""
    forwarded = connection.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        if forwarded and ipaddress.ip_address(peer).is_private:
            return str(ipaddress.ip_address(forwarded))
    except ValueError:
        pass
    return peer
