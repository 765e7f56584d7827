"""The identity providers Scrubjay knows, and what each says about a person. Pure.

Whether a provider vouches for an e-mail address differs: `profile_of` alone decides it, and what is
not clearly vouched for is not. A person is (issuer, subject), never an address.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import Unauthenticated

Kind = Literal["discord", "entra", "github", "google", "keycloak", "oidc", "okta", "slack"]

REFUSED = "This sign-in is not valid. Start again from the sign-in page."
SUBJECT_MAX = 200  # characters, as identities keep them
GROUPS_MAX = 2000
OAUTH: frozenset[Kind] = frozenset({"discord", "github"})  # OAuth 2 alone: no ID token
CHATS: frozenset[Kind] = frozenset({"discord", "slack"})  # where bots know the same accounts
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MULTI_TENANT = re.compile(r"/(common|organizations)(/v2\.0)?/?$")
TENANT_ID = "{tenantid}"  # in the issuer that Entra's metadata for several tenants names


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """What is the same for every provider of a kind."""

    label: str
    issuer: str = ""  # where it is always the same
    scopes: str = "openid email profile"
    groups_claim: str = "groups"


KINDS: Mapping[Kind, ProviderKind] = {
    "discord": ProviderKind("Discord", "https://discord.com", "identify email"),
    "entra": ProviderKind("Microsoft"),
    "github": ProviderKind("GitHub", "https://github.com", "read:user user:email"),
    "google": ProviderKind("Google", "https://accounts.google.com"),
    "keycloak": ProviderKind("Keycloak"),
    "oidc": ProviderKind("Single sign-on"),
    "okta": ProviderKind("Okta", scopes="openid email profile groups"),
    "slack": ProviderKind("Slack", "https://slack.com"),
}


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """What a tenant says about a provider: whom it takes, and what its groups mean."""

    kind: Kind
    issuer: str
    allowed_domains: Collection[str] = ()
    allowed_tenants: Collection[str] = ()  # Entra's directory ids
    groups_claim: str = ""


@dataclass(frozen=True, slots=True)
class ProviderProfile:
    """A person as a provider names them. `email` is empty unless the provider vouches for it."""

    issuer: str
    subject: str
    email: str = ""
    name: str = ""
    groups: Sequence[str] | None = None  # None: it says nothing of groups
    leaves_groups_out: bool = False  # it has more groups of them than its tokens hold


def is_multi_tenant(issuer: str) -> bool:
    """Whether an Entra issuer stands for several tenants, of which each names itself in tokens."""
    return _MULTI_TENANT.search(issuer) is not None


def profile_of(rules: ProviderRules, issuer: str, claims: Mapping[str, Any]) -> ProviderProfile:
    """Who the claims of a checked ID token, or of an OAuth provider's account, name.

    Raises `Unauthenticated` where they name nobody.
    """
    subject = _subject(rules, claims)
    email = _address(claims.get("email"))
    left_out = _leaves_groups_out(rules, claims)
    return ProviderProfile(
        issuer=issuer,
        subject=subject,
        email=email if email and _vouches(rules, claims, email) else "",
        name=_name(claims),
        groups=None if left_out else _groups(rules, claims),
        leaves_groups_out=left_out,
    )


def _subject(rules: ProviderRules, claims: Mapping[str, Any]) -> str:
    if rules.kind == "entra":  # `sub` is another one in each application
        directory, person = claims.get("tid"), claims.get("oid")
        ids = [value for value in (directory, person) if isinstance(value, str)]
        if len(ids) != 2 or not all(_UUID.fullmatch(value.lower()) for value in ids):
            raise Unauthenticated(REFUSED)
        return f"{ids[0].lower()}:{ids[1].lower()}"
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX:
        raise Unauthenticated(REFUSED)
    return subject


def _vouches(rules: ProviderRules, claims: Mapping[str, Any], email: str) -> bool:
    domain = email.rpartition("@")[2]
    allowed = {item.lower() for item in rules.allowed_domains}
    match rules.kind:
        case "google":
            # Any address can be a Google account's name, and be given to somebody else later.
            hosted = claims.get("hd")
            is_hosted = isinstance(hosted, str) and hosted.lower() in allowed
            is_own = domain in {"gmail.com", "googlemail.com"} and (
                not allowed or domain in allowed
            )
            return claims.get("email_verified") is True and (is_hosted or is_own)
        case "entra":
            # Admins of any directory can write any address; only these two say that it is proved.
            proved = claims.get("xms_edov")
            is_pinned = not is_multi_tenant(rules.issuer) and domain in allowed
            is_proved = proved is True or (type(proved) is int and proved == 1)
            return is_pinned or (is_proved and (not allowed or domain in allowed))
        case "github":
            if domain.endswith("noreply.github.com"):
                return False
    return claims.get("email_verified") is True and (not allowed or domain in allowed)


def _address(value: object) -> str:
    if not isinstance(value, str):
        return ""
    email = value.strip().lower()
    plain = email.isprintable() and " " not in email and len(email) <= 320
    return email if plain and re.fullmatch(r"[^@]+@[^@]+", email) else ""


def _name(claims: Mapping[str, Any]) -> str:
    for claim in ("name", "preferred_username"):
        value = claims.get(claim)
        if isinstance(value, str):
            plain = "".join(char for char in value if char.isprintable()).strip()[:200]
            if plain:
                return plain
    return ""


def _leaves_groups_out(rules: ProviderRules, claims: Mapping[str, Any]) -> bool:
    """Whether the claims hold not all groups: Entra's overage, or more than we look at.

    Entra names the claim in `_claim_names` (above 200 groups), or says `hasgroups` (in tokens that
    travel in an address, above five). Either way what else is in the claim is no list to go by.
    """
    name = rules.groups_claim or "groups"
    elsewhere, value = claims.get("_claim_names"), claims.get(name)
    if isinstance(elsewhere, Mapping) and name in elsewhere:
        return True
    if name == "groups" and claims.get("hasgroups") in (True, "true", 1):
        return True
    return isinstance(value, list) and len(value) > GROUPS_MAX


def _groups(rules: ProviderRules, claims: Mapping[str, Any]) -> Sequence[str] | None:
    """The groups a provider says; None where it says nothing of them."""
    value = claims.get(rules.groups_claim or "groups")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return None
    return [item for item in value if isinstance(item, str)]
