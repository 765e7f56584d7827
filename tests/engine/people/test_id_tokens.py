"""ID tokens: every way in which one can be wrong is refused, and what each provider vouches for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from engine.errors import Unauthenticated
from engine.people.federation.id_token import ExpectedToken, validate_id_token
from engine.people.federation.kinds import ProviderRules, profile_of
from tests.fakes.identity_provider import IdentityProvider

ISSUER = "https://id.example.com"
NOW = int(time.time())
DIRECTORY = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
PERSON = "aaaaaaaa-2222-3333-4444-555555555555"
EXPECTED = ExpectedToken(ISSUER, "client-1", "nonce-1")
PROVIDER = IdentityProvider()
KEY = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PROVIDER.key.public_key()))
GOOD = {
    "iss": ISSUER,
    "aud": "client-1",
    "sub": "person-1",
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": "nonce-1",
}


def keys(**changes: Any) -> list[jwt.PyJWK]:
    said = KEY | {"kid": "k1", "use": "sig", "alg": "RS256"} | changes
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.PyJWKSet.from_dict({"keys": [said]}).keys


def claims(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | changes).items() if value is not None}


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return PROVIDER.sign(claims(**changes), header)


def part(said: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    head = f"{part(header)}.{part(claims())}"
    made = base64.urlsafe_b64encode(signature(head.encode())).rstrip(b"=").decode()
    return f"{head}.{made}"


def shared(head: bytes) -> bytes:
    return hmac.new(PROVIDER.public_pem(), head, hashlib.sha256).digest()


def foreign() -> str:
    return jwt.encode(
        claims(), PROVIDER.pem(PROVIDER.stranger), algorithm="RS256", headers={"kid": "k1"}
    )


def own_key() -> str:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PROVIDER.stranger.public_key()))
    return jwt.encode(
        claims(),
        PROVIDER.pem(PROVIDER.stranger),
        algorithm="RS256",
        headers={"kid": "k1", "jwk": public},
    )


WRONG: dict[str, Callable[[], str]] = {
    # Row 1: the signature
    "alg none": lambda: by_hand({"alg": "none", "kid": "k1"}, lambda _: b""),
    "alg nOnE": lambda: by_hand({"alg": "nOnE", "kid": "k1"}, lambda _: b""),
    "HS256 with the public key": lambda: by_hand({"alg": "HS256", "kid": "k1"}, shared),
    "a foreign key": foreign,
    "a key in the header": own_key,
    "jku": lambda: token({"jku": "https://evil.example/keys"}),
    "x5u": lambda: token({"x5u": "https://evil.example/cert"}),
    "crit": lambda: token({"crit": ["exp"]}),
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "a cut signature": lambda: token()[:-20],
    "two parts": lambda: token().rpartition(".")[0],
    "an unknown key id": lambda: token({"kid": "k2"}),
    "another type": lambda: token({"typ": "at+jwt"}),
    "nothing": lambda: "",
    "no token": lambda: "a.b.c",
    "not ASCII": lambda: token() + "é",
    "far too long": lambda: "a" * 100_000,
    "deep JSON": lambda: part([]) + "." + base64.urlsafe_b64encode(b"[" * 9000).decode() + ".x",
    # Row 2: the claims
    "wrong aud": lambda: token(aud="client-2"),
    "no aud": lambda: token(aud=None),
    "aud is a number": lambda: token(aud=1),
    "strangers and no azp": lambda: token(aud=["client-1", "client-2"]),
    "strangers and a foreign azp": lambda: token(aud=["client-1", "client-2"], azp="client-2"),
    "a foreign azp": lambda: token(azp="client-2"),
    "wrong iss": lambda: token(iss="https://other.example.com"),
    "iss with a slash": lambda: token(iss=ISSUER + "/"),
    "no iss": lambda: token(iss=None),
    "expired": lambda: token(exp=NOW - 120),
    "no exp": lambda: token(exp=None),
    "exp as a text": lambda: token(exp=str(NOW + 300)),
    "exp as a fraction": lambda: token(exp=NOW + 300.5),
    "exp as true": lambda: token(exp=True),
    "iat in the future": lambda: token(iat=NOW + 3600),
    "no iat": lambda: token(iat=None),
    "nbf in the future": lambda: token(nbf=NOW + 3600),
    "no sub": lambda: token(sub=None),
    "an empty sub": lambda: token(sub=""),
    "a number as sub": lambda: by_hand_signed(sub=7),
    "a long sub": lambda: token(sub="s" * 300),
    "wrong nonce": lambda: token(nonce="nonce-2"),
    "no nonce": lambda: token(nonce=None),
    "nonce as a list": lambda: token(nonce=["nonce-1"]),
}


def by_hand_signed(**changes: Any) -> str:
    """Signed without the library, which refuses to write some claims."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    head = f"{part({'alg': 'RS256', 'kid': 'k1', 'typ': 'JWT'})}.{part(claims(**changes))}"
    made = PROVIDER.key.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


@pytest.mark.parametrize("fault", WRONG)
def test_a_token_with_a_fault_is_refused(fault: str) -> None:
    with pytest.raises(Unauthenticated):
        validate_id_token(WRONG[fault](), keys(), EXPECTED, now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["client-1"]},
        {"aud": ["client-1", "client-2"], "azp": "client-1"},
        {"nbf": NOW - 10},
        {"iat": NOW + 30},
        {"exp": NOW - 30},
    ],
)
def test_a_good_token_is_taken(changes: dict[str, Any]) -> None:
    made = token(**changes)
    assert validate_id_token(made, keys(), EXPECTED, now=NOW)["sub"] == "person-1"
    assert validate_id_token(made, keys(alg=None), EXPECTED, now=NOW)  # as Entra's, without `alg`


def test_a_key_for_encryption_or_another_algorithm_signs_nothing() -> None:
    for other in (keys(use="enc"), keys(alg="RS512")):
        with pytest.raises(Unauthenticated):
            validate_id_token(token(), other, EXPECTED, now=NOW)


TEMPLATE = "https://login.microsoftonline.com/{tenantid}/v2.0"


@pytest.mark.parametrize(
    ("directory", "issuer", "good"),
    [
        (DIRECTORY, TEMPLATE.replace("{tenantid}", DIRECTORY), True),
        (OTHER, TEMPLATE.replace("{tenantid}", OTHER), False),  # not allowed
        (DIRECTORY, TEMPLATE.replace("{tenantid}", OTHER), False),  # `tid` is another one
        (OTHER, TEMPLATE.replace("{tenantid}", DIRECTORY), False),
        (DIRECTORY, TEMPLATE, False),
        (None, TEMPLATE.replace("{tenantid}", DIRECTORY), False),
    ],
)
def test_an_issuer_for_several_directories_takes_those_that_are_named(
    directory: str | None, issuer: str, good: bool
) -> None:
    expected = ExpectedToken(TEMPLATE, "client-1", "nonce-1", tenants=[DIRECTORY])
    made = token(iss=issuer, tid=directory)
    if good:
        assert validate_id_token(made, keys(), expected, now=NOW)
        return
    with pytest.raises(Unauthenticated):
        validate_id_token(made, keys(), expected, now=NOW)


ENTRA = {"tid": DIRECTORY, "oid": PERSON, "email": "ada@example.com"}
PINNED = f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"
COMMON = "https://login.microsoftonline.com/common/v2.0"
VERIFIED = {"sub": "1", "email": "ada@example.com", "email_verified": True}


@pytest.mark.parametrize(
    ("kind", "issuer", "domains", "said", "vouched"),
    [
        ("oidc", ISSUER, (), VERIFIED, True),
        ("oidc", ISSUER, (), VERIFIED | {"email_verified": False}, False),
        ("oidc", ISSUER, (), VERIFIED | {"email_verified": None}, False),
        ("oidc", ISSUER, (), VERIFIED | {"email_verified": "true"}, False),
        ("oidc", ISSUER, (), VERIFIED | {"email_verified": 1}, False),
        ("oidc", ISSUER, ("example.com",), VERIFIED, True),
        ("oidc", ISSUER, ("other.com",), VERIFIED, False),
        ("keycloak", ISSUER, (), VERIFIED | {"email_verified": False}, False),
        ("okta", ISSUER, (), VERIFIED, True),
        ("google", ISSUER, (), VERIFIED, False),
        ("google", ISSUER, ("example.com",), VERIFIED, False),  # an account of its own making
        ("google", ISSUER, ("example.com",), VERIFIED | {"hd": "example.com"}, True),
        ("google", ISSUER, ("example.com",), VERIFIED | {"hd": "evil.com"}, False),
        ("google", ISSUER, (), VERIFIED | {"email": "ada@gmail.com"}, True),
        ("google", ISSUER, ("x.org",), VERIFIED | {"email": "ada@gmail.com"}, False),
        ("entra", PINNED, (), ENTRA, False),
        ("entra", PINNED, (), ENTRA | {"email_verified": True}, False),
        ("entra", PINNED, (), ENTRA | {"xms_edov": True}, True),
        ("entra", PINNED, (), ENTRA | {"xms_edov": 1}, True),
        ("entra", PINNED, (), ENTRA | {"xms_edov": False}, False),
        ("entra", PINNED, (), ENTRA | {"xms_edov": "false"}, False),
        ("entra", PINNED, ("example.com",), ENTRA, True),
        ("entra", COMMON, ("example.com",), ENTRA, False),  # any directory can write any address
        ("entra", COMMON, (), ENTRA | {"xms_edov": True}, True),
        ("entra", PINNED, (), ENTRA | {"email": None, "preferred_username": "a@b.c"}, False),
        ("github", ISSUER, (), VERIFIED, True),
        (
            "github",
            ISSUER,
            (),
            VERIFIED | {"email": "1+ada@users.noreply.github.com"},
            False,
        ),
        ("oidc", ISSUER, (), VERIFIED | {"email": "two@at@example.com"}, False),
        ("oidc", ISSUER, (), VERIFIED | {"email": ["ada@example.com"]}, False),
        ("oidc", ISSUER, (), VERIFIED | {"email": "ada@example.com\r\nBcc: x@y"}, False),
    ],
)
def test_an_address_counts_only_where_the_provider_vouches_for_it(
    kind, issuer: str, domains, said: dict[str, Any], vouched: bool
) -> None:
    rules = ProviderRules(kind, issuer, allowed_domains=domains)
    found = profile_of(rules, issuer, said)
    assert bool(found.email) is vouched


def test_an_entra_account_is_its_directory_and_its_object_id() -> None:
    rules = ProviderRules("entra", PINNED)
    assert profile_of(rules, PINNED, ENTRA).subject == f"{DIRECTORY}:{PERSON}"
    for broken in ({"oid": None}, {"tid": None}, {"oid": "x"}, {"oid": [PERSON]}):
        with pytest.raises(Unauthenticated):
            profile_of(rules, PINNED, ENTRA | broken)


def test_groups_that_are_not_said_are_not_none() -> None:
    rules = ProviderRules("oidc", ISSUER, groups_claim="teams")
    assert profile_of(rules, ISSUER, VERIFIED).groups is None
    assert profile_of(rules, ISSUER, VERIFIED | {"_claim_names": {"teams": "s"}}).groups is None
    entra = ProviderRules("oidc", issuer=ISSUER)
    for of, more in (
        (rules, {"_claim_names": {"teams": "s"}, "teams": []}),
        (entra, {"hasgroups": True, "groups": ["a"]}),
    ):
        found = profile_of(of, ISSUER, VERIFIED | more)
        assert (found.groups, found.leaves_groups_out) == (None, True)
    cut = profile_of(rules, ISSUER, VERIFIED | {"teams": [str(at) for at in range(2001)]})
    assert (cut.groups, cut.leaves_groups_out) == (None, True)
    assert profile_of(rules, ISSUER, VERIFIED | {"teams": []}).groups == []
    assert profile_of(rules, ISSUER, VERIFIED | {"teams": ["a", 1]}).groups == ["a"]
