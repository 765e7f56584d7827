"""Whether a request without a key comes straight from a program of the person who runs Scrubjay.

`Doorkeeper` asks before it takes a caller for the local owner. `is_direct` looks at the request for
any shape that a proxy leaves; `is_same_user` asks the operating system who owns the other end of
the connection. What remains: a proxy of the same user that repeats requests exactly as a browser on
this machine sends them (docs/reference/http.md).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

Endpoint = tuple[str, int]  # an address and a port
SameUser = Callable[[Endpoint, Endpoint], bool]  # of the client's and the server's endpoint

FORWARDING = (
    "cdn-loop",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "max-forwards",
    "proxy-connection",
    "remote-user",
    "surrogate-capability",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forward-for",
    "x-host",
    "x-nginx-proxy",
    "x-proxyuser-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-remote-user",
    "x-scheme",
    "x-url-scheme",
    "x-varnish",
)
FORWARDING_PREFIXES = (
    "cf-",
    "fly-forwarded",
    "ngrok-",
    "tailscale-",
    "x-amz-cf-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-envoy-",
    "x-forwarded",
    "x-original-",
    "x-real-",
    "x-traefik-",
    "x-vercel-",
)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def host_of(authority: str) -> str:
    """The host of `host:port`, lower case, without brackets; empty where it is malformed."""
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None or port == 0:
        return ""
    return (parts.hostname or "").rstrip(".")


def is_forwarded(names: Iterable[str]) -> bool:
    """Whether the names of a request's headers show that a proxy passed it on."""
    plain = [name.lower().replace("_", "-") for name in names]  # some proxies write underscores
    return any(name in FORWARDING or name.startswith(FORWARDING_PREFIXES) for name in plain)


def is_direct(connection: HTTPConnection, same_user: SameUser) -> bool:
    """Whether no proxy shape is on a request, and its sender is this user on this machine.

    Browsers and assistants speak HTTP/1.1 and name the address and port they connected to; nginx,
    unless told otherwise, speaks HTTP/1.0.
    """
    scope = connection.scope
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or server[1] is None or scope["http_version"] in {"0.9", "1.0"}:
        return False
    if not is_loopback(client[0]) or is_forwarded(connection.headers.keys()):
        return False
    if not _names_endpoint(connection.headers, (server[0], server[1])):
        return False
    return same_user((client[0], client[1]), (server[0], server[1]))


def _names_endpoint(headers: Headers, server: Endpoint) -> bool:
    """Whether `Host` is the loopback address and port that the connection was made to."""
    [*hosts] = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(host_of(hosts[0])):
        return False
    if (urlsplit(f"//{hosts[0]}").port or 80) != server[1]:
        return False  # a proxy on another port that kept the Host it was called by
    named, connected = _address(host_of(hosts[0])), _address(server[0])
    return named is None or connected is None or named == connected


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A literal address, of IPv4 inside IPv6 the inner one; None for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


# Who owns the other end: Linux tells through NETLINK_SOCK_DIAG, sock_diag(7).

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states
_SOCKET = struct.Struct("=2s2s16s16sI8s")  # inet_diag_sockid: ports, addresses, interface, cookie
_OWNER_AT = _HEADER.size + 4 + _SOCKET.size + 12  # in inet_diag_msg: idiag_uid, idiag_inode
_ANY_COOKIE = b"\xff" * 8
_TIMEOUT_S = 1.0


def is_same_user(client: Endpoint, server: Endpoint) -> bool:
    """Whether the program at `client` runs as the user of this process; True off Linux.

    A connection that the system no longer knows is nobody's: its sender has left.
    """
    if not sys.platform.startswith("linux"):
        return True
    try:
        found = socket_owner(client, server)
    except OSError:
        return True  # a kernel or container without sock_diag
    return found == os.getuid()


def socket_owner(client: Endpoint, server: Endpoint) -> int | None:
    """The user id that owns the socket from `client` to `server`; None if there is no such socket.

    Raises `OSError` where the system can't be asked.
    """
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    identity = _SOCKET.pack(
        struct.pack("!H", client[1]),
        struct.pack("!H", server[1]),
        socket.inet_pton(family, client[0]).ljust(16, b"\0"),
        socket.inet_pton(family, server[0]).ljust(16, b"\0"),
        0,
        _ANY_COOKIE,
    )
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + identity
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(_TIMEOUT_S)
        asked.sendto(head + body, (0, 0))
        answer = asked.recv(4096)
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        code = -int(struct.unpack_from("=i", answer, _HEADER.size)[0])
        if code == errno.ENOENT:
            return None
        raise OSError(code, os.strerror(code))
    owner, inode = struct.unpack_from("=II", answer, _OWNER_AT)
    return int(owner) if inode else None  # closed: the kernel holds it, as user 0
