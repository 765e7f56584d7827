"""What an API token is bound to besides its scopes: networks it is used from, assistants it asks.

`api_tokens.py` keeps both with a token. Networks are compared at the door, with the address that a
request came from; whoever answers as an assistant asks `gate.for_assistant`. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

from engine.errors import InvalidInput

NETWORKS_MAX = 50
ASSISTANTS_MAX, ASSISTANT_MAX = 100, 200

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def checked_networks(said: Collection[str] | None) -> list[str] | None:
    """Networks in CIDR notation as they are kept; `InvalidInput` names the first that is none."""
    if said is None:
        return None
    if not said or len(said) > NETWORKS_MAX:
        raise InvalidInput(f"Name 1 to {NETWORKS_MAX} networks.", field="networks")
    return sorted({str(_network(item)) for item in said})


def checked_assistants(said: Collection[str] | None) -> list[str] | None:
    """Ids or names of assistants as they are kept."""
    if said is None:
        return None
    plain = sorted({item.strip() for item in said})
    if not plain or len(plain) > ASSISTANTS_MAX:
        raise InvalidInput(f"Name 1 to {ASSISTANTS_MAX} assistants.", field="assistants")
    if any(not item or len(item) > ASSISTANT_MAX or not item.isprintable() for item in plain):
        raise InvalidInput(
            f"An assistant has a name of 1 to {ASSISTANT_MAX} printable characters.",
            field="assistants",
        )
    return plain


def is_within(networks: Sequence[str] | None, address: str) -> bool:
    """Whether a token may be used from an address; an unknown one is in no network."""
    if networks is None:
        return True
    try:
        came_from = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return any(came_from in ipaddress.ip_network(network) for network in networks)


def _network(said: str) -> Network:
    try:
        found = ipaddress.ip_network(said.strip(), strict=True)
    except ValueError:
        raise InvalidInput(
            f"{said[:80]!r} is not a network: write one like 192.0.2.0/24 or 2001:db8::/32, with"
            " zeros after its prefix.",
            field="networks",
        ) from None
    inner = getattr(found.network_address, "ipv4_mapped", None)
    if inner is not None and found.prefixlen >= 96:  # ::ffff:192.0.2.0/120 means IPv4
        return ipaddress.ip_network(f"{inner}/{found.prefixlen - 96}")
    return found


def _plain(address: Address) -> Address:
    """IPv4 inside IPv6 is IPv4: that is how a socket for both shows it."""
    return getattr(address, "ipv4_mapped", None) or address
