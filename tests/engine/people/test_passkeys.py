"""Passkeys: who gets in with one, and everything that is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from engine.db.tables import AuditEvent, Passkey
from engine.domain import Principal, Role
from engine.errors import Conflict, InvalidInput, NotFound, StepUpRequired, Unauthenticated
from engine.people import members
from engine.people.passkeys import Passkeys
from engine.people.sessions import SignedIn
from engine.people.webauthn_checks import relying_party
from tests.engine.people.conftest import HOME, ISSUER, Site
from tests.fakes.authenticator import SoftwareAuthenticator
from tests.fakes.smtp_server import no_mail


@dataclass
class PasskeySite:
    """A site with people, and its passkeys."""

    site: Site
    passkeys: Passkeys

    async def enter(self, name: str) -> Principal:
        """Somebody signed in, who has just confirmed who they are."""
        signed_in = await self.site.enter(name, kind="browser")
        who = await self.site.sign_in.principal_of_cookie(signed_in.cookie)
        confirmed = await self.site.sign_in.step_up(who, password=PASSWORD, client=HOME)
        return await self.site.sign_in.principal_of_cookie(confirmed.cookie)

    async def keep(
        self, who: Principal, device: SoftwareAuthenticator | None = None
    ) -> SoftwareAuthenticator:
        device = device or SoftwareAuthenticator(ISSUER)
        options = await self.passkeys.begin_adding(who, ISSUER)
        await self.passkeys.add(who, ISSUER, device.create(options), name="phone")
        return device

    async def sign_in(self, device: SoftwareAuthenticator) -> SignedIn:
        options = await self.passkeys.begin_sign_in(ISSUER, HOME)
        return await self.passkeys.sign_in(ISSUER, device.get(options), kind="browser", client=HOME)


PASSWORD = "plum kettle orbit 42"


@pytest.fixture
def at(site: Site) -> PasskeySite:
    mail = no_mail(site.db, site.secrets)
    passkeys = Passkeys(site.db, site.secrets, mail, site.sign_in, public_url=ISSUER, issuer=ISSUER)
    return PasskeySite(site, passkeys)


@pytest.mark.parametrize("counter", [0, None])
async def test_a_passkey_signs_its_person_in_without_a_password(at: PasskeySite, counter):
    user_id = await at.site.join("ada", Role.CURATOR)
    device = await at.keep(await at.enter("ada"), SoftwareAuthenticator(ISSUER, counter=counter))

    for _ in range(2):
        signed_in = await at.sign_in(device)
        who = await at.site.sign_in.principal_of_cookie(signed_in.cookie)
        assert (who.user_id, who.role, who.assured) == (user_id, Role.CURATOR, False)
    [kept] = await at.passkeys.list_own(who)
    assert (kept.name, kept.is_synced) == ("phone", counter is None)
    assert kept.last_used_at is not None


async def test_a_passkey_confirms_who_is_signed_in_with_another_cookie(at: PasskeySite):
    await at.site.join("ada")
    device = await at.keep(await at.enter("ada"))
    before = await at.sign_in(device)
    who = await at.site.sign_in.principal_of_cookie(before.cookie)
    options = await at.passkeys.begin_confirming(who, ISSUER)
    confirmed = await at.passkeys.confirm(who, ISSUER, device.get(options))
    assert (await at.site.sign_in.principal_of_cookie(confirmed.cookie)).assured
    with pytest.raises(Unauthenticated):
        await at.site.sign_in.principal_of_cookie(before.cookie)


def elsewhere(device: SoftwareAuthenticator) -> None:
    device.origin = "https://ask.example.com.evil.example"


def plain_http(device: SoftwareAuthenticator) -> None:
    device.origin = "http://ask.example.com"


def other_site(device: SoftwareAuthenticator) -> None:
    device.site = "evil.example"


def unverified(device: SoftwareAuthenticator) -> None:
    device.verifies = False


def counter_back(device: SoftwareAuthenticator) -> None:
    device.counter = -1


def same_counter(device: SoftwareAuthenticator) -> None:
    device.counter = (device.counter or 0) - 1


def foreign_key(device: SoftwareAuthenticator) -> None:
    device.key = SoftwareAuthenticator(ISSUER).key


def other_owner(device: SoftwareAuthenticator) -> None:
    device.user_handle = "MDAw"


def unknown(device: SoftwareAuthenticator) -> None:
    device.credential_id = b"x" * 32


FAULTS = (
    elsewhere,
    plain_http,
    other_site,
    unverified,
    counter_back,
    same_counter,
    foreign_key,
    other_owner,
    unknown,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_an_answer_with_anything_wrong_signs_nobody_in(
    at: PasskeySite, fault: Callable[[SoftwareAuthenticator], None]
):
    await at.site.join("ada")
    device = await at.keep(await at.enter("ada"))
    await at.sign_in(device)
    before = copy.copy(device)
    fault(device)
    with pytest.raises(Unauthenticated):
        await at.sign_in(device)
    assert (await at.sign_in(before)).cookie  # and it locks nobody out


async def test_a_challenge_is_taken_once_and_by_nobody_else(at: PasskeySite, fixed_clock):
    await at.site.join("ada")
    await at.site.join("eve")
    ada, eve = await at.enter("ada"), await at.enter("eve")
    device, hers = await at.keep(ada), await at.keep(eve)

    async def sign_in(said: dict[str, Any]) -> SignedIn:
        return await at.passkeys.sign_in(ISSUER, said, kind="api", client=HOME)

    said = device.get(await at.passkeys.begin_sign_in(ISSUER, HOME))
    await sign_in(said)
    with pytest.raises(Unauthenticated):
        await sign_in(said)  # again
    old = await at.passkeys.begin_sign_in(ISSUER, HOME)
    fixed_clock.advance(301)
    with pytest.raises(Unauthenticated):
        await sign_in(device.get(old))
    made_up = {"challenge": "bWFkZSB1cA", "rpId": "ask.example.com"}
    with pytest.raises(Unauthenticated):
        await sign_in(device.get(made_up))
    options = await at.passkeys.begin_confirming(ada, ISSUER)
    with pytest.raises(Unauthenticated):
        await sign_in(device.get(options))  # meant for something else
    options = await at.passkeys.begin_confirming(ada, ISSUER)
    with pytest.raises(Unauthenticated):
        await at.passkeys.confirm(eve, ISSUER, hers.get(options))  # another's session
    options = await at.passkeys.begin_confirming(eve, ISSUER)
    with pytest.raises(Unauthenticated):
        await at.passkeys.confirm(eve, ISSUER, device.get(options))  # another's passkey


@pytest.mark.parametrize("fault", [elsewhere, plain_http, other_site, unverified])
async def test_a_new_passkey_with_anything_wrong_is_not_kept(at: PasskeySite, fault):
    await at.site.join("ada")
    ada, device = await at.enter("ada"), SoftwareAuthenticator(ISSUER)
    fault(device)
    with pytest.raises(Unauthenticated):
        await at.keep(ada, device)
    assert await at.passkeys.list_own(ada) == []


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"rawId": "x", "response": {}},
        {"rawId": 5, "response": {"clientDataJSON": "e30"}},
        {"rawId": "ü", "response": {"clientDataJSON": "W10"}},
        {"response": {"clientDataJSON": "!"}},
        {"response": 5},
        "{}",
    ],
)
async def test_what_is_no_answer_is_refused_as_a_wrong_one(at: PasskeySite, said):
    with pytest.raises(Unauthenticated):
        await at.passkeys.sign_in(ISSUER, said, kind="api", client=HOME)


@pytest.mark.parametrize("said", ["", "[]", "{", "5", "x" * 30_000])
async def test_what_is_no_json_object_names_its_field(at: PasskeySite, said: str):
    with pytest.raises(InvalidInput) as refused:
        await at.passkeys.sign_in(ISSUER, said, kind="api", client=HOME)
    assert refused.value.field == "credential"


async def test_a_garbled_answer_of_a_known_passkey_is_a_wrong_one(at: PasskeySite):
    await at.site.join("ada")
    device = await at.keep(await at.enter("ada"))
    for name in ("authenticatorData", "signature", "userHandle"):
        for value in ("", "AAAA", "!", 5, None):
            said = device.get(await at.passkeys.begin_sign_in(ISSUER, HOME))
            said["response"][name] = value
            if name == "userHandle" and value in ("", None, 5):
                continue
            with pytest.raises(Unauthenticated):
                await at.passkeys.sign_in(ISSUER, said, kind="api", client=HOME)


async def test_passkeys_are_added_and_deleted_after_a_confirmation_alone(at: PasskeySite):
    await at.site.join("ada")
    ada, device = await at.enter("ada"), SoftwareAuthenticator(ISSUER)
    await at.keep(ada, device)
    stale = await at.site.sign_in.principal_of_cookie((await at.sign_in(device)).cookie)
    [kept] = await at.passkeys.list_own(stale)
    for verb in (at.passkeys.begin_adding(stale, ISSUER), at.passkeys.delete(stale, kept.id)):
        with pytest.raises(StepUpRequired):
            await verb
    ada = await at.enter("ada")
    options = await at.passkeys.begin_adding(ada, ISSUER)
    assert len(options["excludeCredentials"]) == 1
    with pytest.raises(Conflict):
        await at.passkeys.add(ada, ISSUER, device.create(options))
    assert (await at.passkeys.rename(ada, kept.id, "laptop")).name == "laptop"
    await at.passkeys.delete(ada, kept.id)
    with pytest.raises(Unauthenticated):
        await at.sign_in(device)
    with pytest.raises(NotFound):
        await at.passkeys.delete(ada, kept.id)
    async with at.site.db.read() as session:
        rows = select(AuditEvent.action).where(AuditEvent.action.startswith("factor."))
        said = list(await session.scalars(rows.order_by(AuditEvent.id)))
    assert said == ["factor.add", "factor.rename", "factor.remove"]


async def test_nobody_touches_the_passkey_of_somebody_else(at: PasskeySite):
    await at.site.join("ada")
    await at.site.join("eve")
    await at.keep(await at.enter("ada"))
    eve = await at.enter("eve")
    async with at.site.db.read() as session:
        [row] = await session.scalars(select(Passkey))
    for verb in (at.passkeys.rename(eve, row.id, "mine"), at.passkeys.delete(eve, row.id)):
        with pytest.raises(NotFound):
            await verb


async def test_adding_a_passkey_ends_the_other_sessions(at: PasskeySite):
    await at.site.join("ada")
    other = await at.site.enter("ada", kind="browser")
    ada = await at.enter("ada")
    await at.keep(ada)
    with pytest.raises(Unauthenticated):
        await at.site.sign_in.principal_of_cookie(other.cookie)
    assert await at.passkeys.list_own(ada)


async def test_a_deactivated_member_does_not_get_in_with_a_passkey(at: PasskeySite):
    user_id = await at.site.join("ada")
    device = await at.keep(await at.enter("ada"))
    async with at.site.db.write() as session:
        await members.set_active(session, at.site.owner, user_id, active=False)
    with pytest.raises(Unauthenticated):
        await at.sign_in(device)


async def test_an_admin_s_reset_of_factors_deletes_passkeys(at: PasskeySite):
    user_id = await at.site.join("ada")
    device = await at.keep(await at.enter("ada"))
    await at.site.sign_in.reset_factors(at.site.owner, user_id)
    with pytest.raises(Unauthenticated):
        await at.sign_in(device)


@pytest.mark.parametrize(
    ("public_url", "asked", "id_", "origin"),
    [
        ("https://ask.example.com", "http://10.0.0.1:7337/", "ask.example.com", ISSUER),
        ("https://x.org:8443/kb", "", "x.org", "https://x.org:8443"),
        ("", "http://localhost:7337/", "localhost", "http://localhost:7337"),
    ],
)
def test_passkeys_are_for_the_public_name_or_localhost(public_url, asked, id_, origin):
    party = relying_party(public_url, asked)
    assert (party.id, party.origin) == (id_, origin)


@pytest.mark.parametrize(
    ("public_url", "asked"),
    [
        ("", "http://127.0.0.1:7337/"),
        ("", "http://[::1]:7337/"),
        ("", "http://ask.lan/"),
        ("http://ask.example.com", "http://localhost/"),
        ("https://192.0.2.1", ""),
    ],
)
def test_where_browsers_keep_no_passkeys_it_says_what_to_set(public_url, asked):
    with pytest.raises(Conflict, match="public_url"):
        relying_party(public_url, asked)
