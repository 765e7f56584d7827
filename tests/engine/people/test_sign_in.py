"""Signing in and staying so: what is let in, what ends at once, and what a guess learns."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace

import jwt
import pytest
from sqlalchemy import select, update

from engine import clock
from engine.db.tables import AuditEvent, OneTimeLink, User, UserSession
from engine.domain import Role, Scope
from engine.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    LinkExpired,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from engine.limits import SqlLimits
from engine.people import api_tokens, members, passwords
from engine.people.sessions import LIFE, SignInClient
from engine.people.sign_in import SignIn
from engine.secrets import Secrets
from tests.engine.people.conftest import HOME, ISSUER, PASSWORD, Site
from tests.fakes.smtp_server import no_mail

OTHER_PASSWORD = "seven grey lanterns sing"


async def test_a_member_signs_in_and_is_who_they_are_at_every_door(site: Site):
    user_id = await site.join("ada", Role.CURATOR)

    browser = await site.enter("ada", kind="browser")
    program = await site.enter("ada")

    by_cookie = await site.sign_in.principal_of_cookie(browser.cookie)
    by_token = await site.sign_in.principal_of_access_token(program.access_token)
    plain = await site.who(user_id)
    assert replace(by_cookie, session_id=None, assured=True) == plain
    assert replace(by_token, session_id=None, assured=True) == plain
    assert (by_cookie.session_id, by_token.session_id) == (browser.session_id, program.session_id)
    assert (by_cookie.assured, by_token.assured) == (False, False)


async def test_no_secret_of_a_session_or_password_is_kept_or_shown(site: Site):
    user_id = await site.join("ada")
    browser, program = await site.enter("ada", kind="browser"), await site.enter("ada")
    secrets = {browser.cookie, program.refresh_token, program.access_token, browser.device}
    async with site.db.read() as session:
        kept = [vars(row) for row in await session.scalars(select(UserSession))]
        kept += [vars(row) for row in await session.scalars(select(AuditEvent))]
        user = await session.get_one(User, user_id)
    assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    told = repr(kept) + repr(browser) + repr(program)
    assert [secret for secret in secrets | {PASSWORD} if secret in told] == []


async def test_whatever_is_wrong_with_a_sign_in_is_refused_in_the_same_words(site: Site):
    gone = await site.join("gone")
    off = await site.join("off")
    no_password = await site.join("invited")
    broken = await site.join("broken")
    await site.join("ada")
    async with site.db.write() as session:
        await members.remove_member(session, site.owner, gone)
        await members.set_active(session, site.owner, off, active=False)
        for user_id, kept in ((no_password, None), (broken, "$argon2id$broken")):
            await session.execute(update(User).where(User.id == user_id).values(password_hash=kept))

    said = set()
    for name, password in (
        ("nobody", PASSWORD),
        ("ada", "wrong"),
        ("ada", ""),
        ("ada", PASSWORD + "\u0000"),
        ("gone", PASSWORD),
        ("off", PASSWORD),
        ("invited", PASSWORD),
        ("broken", PASSWORD),
    ):
        with pytest.raises(Unauthenticated) as refused:
            await site.enter(name, password)
        said.add(str(refused.value))
    assert len(said) == 1


async def test_each_refusal_costs_one_comparison_of_a_password(site: Site, monkeypatch):
    await site.join("ada")
    invited = await site.join("invited")
    async with site.db.write() as session:
        await session.execute(update(User).where(User.id == invited).values(password_hash=None))
    compared = []
    matches = passwords._matches
    monkeypatch.setattr(
        passwords, "_matches", lambda kept, given: compared.append(kept) or matches(kept, given)
    )
    for name in ("ada", "nobody", "invited"):
        with pytest.raises(Unauthenticated):
            await site.enter(name, "wrong")
        parameters = compared.pop().split("$")[1:4]
        assert (compared, parameters) == ([], ["argon2id", "v=19", "m=19456,t=2,p=1"])


async def test_guesses_at_an_account_are_limited_and_its_own_device_still_gets_in(
    site: Site, fixed_clock
):
    await site.join("ada")
    device = (await site.enter("ada")).device
    refused = []
    for at in range(40):
        try:
            await site.enter("ada", f"guess {at}", address=f"198.51.100.{at}")
        except (Unauthenticated, RateLimited) as error:
            refused.append(type(error))
    assert refused == [Unauthenticated] * 9 + [RateLimited] * 31
    with pytest.raises(RateLimited) as limited:
        await site.enter("ada")
    assert 0 < limited.value.retry_after_s <= 60
    assert (await site.enter("ada", device=device)).access_token
    fixed_clock.advance(61)
    assert (await site.enter("ada")).access_token


async def test_guesses_at_many_accounts_from_one_address_are_limited(site: Site, fixed_clock):
    refused = []
    for at in range(35):
        try:
            await site.enter(f"nobody{at}", "guess")
        except (Unauthenticated, RateLimited) as error:
            refused.append(type(error))
    assert refused == [Unauthenticated] * 30 + [RateLimited] * 5


async def test_a_device_counts_for_the_account_that_signed_in_on_it_alone(site: Site, fixed_clock):
    await site.join("ada")
    await site.join("eve")
    devices = [(await site.enter("eve")).device for _ in range(3)]
    refused = []
    for at in range(15):
        try:
            await site.enter("ada", "guess", device=devices[at % 3], address=f"198.51.100.{at}")
        except (Unauthenticated, RateLimited) as error:
            refused.append(type(error))
    assert refused == [Unauthenticated] * 10 + [RateLimited] * 5


async def test_a_refused_sign_in_leaves_one_audit_row_a_minute(site: Site, fixed_clock):
    user_id = await site.join("ada")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await site.enter("ada", "wrong")
    fixed_clock.advance(61)
    with pytest.raises(Unauthenticated):
        await site.enter("ada", "wrong")
    async with site.db.read() as session:
        rows = list(
            await session.scalars(
                select(AuditEvent.target).where(AuditEvent.action == "session.refused")
            )
        )
    assert rows == [user_id] * 2


async def test_signing_out_ends_the_session_at_the_next_request(site: Site):
    await site.join("ada")
    browser, program = await site.enter("ada", kind="browser"), await site.enter("ada")
    other = await site.enter("ada")
    who = await site.sign_in.principal_of_cookie(browser.cookie)

    await site.sign_in.sign_out(who)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_cookie(browser.cookie)
    assert await site.sign_in.principal_of_access_token(program.access_token)

    by_token = await site.sign_in.principal_of_access_token(program.access_token)
    assert await site.sign_in.sign_out_everywhere(by_token) == 2
    for token in (program.access_token, other.access_token):
        with pytest.raises(Unauthenticated):
            await site.sign_in.principal_of_access_token(token)
    for token in (program.refresh_token, other.refresh_token):
        with pytest.raises(Unauthenticated):
            await site.sign_in.refresh(token)


async def test_nobody_ends_the_session_of_somebody_else(site: Site):
    await site.join("ada")
    await site.join("bob")
    ada, bob = await site.enter("ada"), await site.enter("bob")
    who = await site.sign_in.principal_of_access_token(bob.access_token)
    with pytest.raises(NotFound):
        await site.sign_in.sign_out(who, ada.session_id)
    assert await site.sign_in.principal_of_access_token(ada.access_token)


@pytest.mark.parametrize("change", ["role", "deactivated", "removed", "inactive everywhere"])
async def test_a_change_of_a_member_holds_at_the_next_request(site: Site, change: str):
    user_id = await site.join("ada", Role.CURATOR)
    browser, program = await site.enter("ada", kind="browser"), await site.enter("ada")
    async with site.db.write() as session:
        if change == "role":
            await members.set_role(session, site.owner, user_id, Role.GUEST)
        elif change == "deactivated":
            await members.set_active(session, site.owner, user_id, active=False)
        elif change == "removed":
            await members.remove_member(session, site.owner, user_id)
        else:
            await session.execute(update(User).where(User.id == user_id).values(active=False))

    async def seen() -> set[str]:
        found = set()
        for look, secret in (
            (site.sign_in.principal_of_cookie, browser.cookie),
            (site.sign_in.principal_of_access_token, program.access_token),
            (site.sign_in.refresh, program.refresh_token),
        ):
            try:
                found.add(getattr(await look(secret), "role", "refreshed"))
            except Unauthenticated:
                found.add("out")
        return found

    assert await seen() == ({Role.GUEST, "refreshed"} if change == "role" else {"out"})


async def test_a_deactivated_member_is_let_in_again_and_their_tokens_stay_revoked(site: Site):
    user_id = await site.join("ada")
    who = await site.who(user_id)
    async with site.db.write() as session:
        secret, _ = await api_tokens.create_token(session, who, "t", scopes=who.scopes)
        await members.set_active(session, site.owner, user_id, active=False)
    async with site.db.write() as session:
        await members.set_active(session, site.owner, user_id, active=True)

    assert (await site.enter("ada")).access_token
    with pytest.raises(Unauthenticated):
        await api_tokens.authenticate(site.db, secret)


async def test_the_last_owner_is_neither_demoted_nor_deactivated_nor_removed(site: Site):
    last = site.owner.user_id
    async with site.db.write() as session:
        for change in (
            members.set_role(session, site.owner, last, Role.ADMIN),
            members.set_active(session, site.owner, last, active=False),
            members.remove_member(session, site.owner, last),
        ):
            with pytest.raises(Conflict, match="at least one owner"):
                await change


async def test_two_owners_cant_demote_each_other_at_once(site: Site):
    other = await site.who(await site.join("ada", Role.OWNER))

    async def demote(by, whom: str) -> bool:
        async def change(session) -> None:
            await members.set_role(session, by, whom, Role.MEMBER)

        try:
            await site.db.run_write(change)
        except Conflict:
            return False
        return True

    done = await asyncio.gather(
        demote(site.owner, other.user_id), demote(other, site.owner.user_id)
    )
    assert sorted(done) == [False, True]


async def test_a_session_ends_after_a_month_and_after_two_idle_weeks(site: Site, fixed_clock):
    await site.join("ada")
    used, idle = await site.enter("ada", kind="browser"), await site.enter("ada", kind="browser")
    for _ in range(4):
        fixed_clock.advance(7 * 24 * 3600)
        await site.sign_in.principal_of_cookie(used.cookie)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_cookie(idle.cookie)
    fixed_clock.advance(LIFE.total_seconds() - 28 * 24 * 3600)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_cookie(used.cookie)


# Access and refresh tokens


async def test_a_repeated_refresh_gives_the_same_successor_for_a_minute(site: Site, fixed_clock):
    await site.join("ada")
    first = (await site.enter("ada")).refresh_token
    second = (await site.sign_in.refresh(first)).refresh_token
    fixed_clock.advance(59)
    assert (await site.sign_in.refresh(first)).refresh_token == second
    assert second != first
    third = await site.sign_in.refresh(second)
    assert await site.sign_in.principal_of_access_token(third.access_token)


@pytest.mark.parametrize("seconds", [0, 61])
async def test_a_refresh_token_that_was_used_long_ago_ends_the_session(
    site: Site, fixed_clock, seconds: int
):
    await site.join("ada")
    first = (await site.enter("ada")).refresh_token
    newest = await site.sign_in.refresh(first)
    if not seconds:  # two uses ago, however quick
        newest = await site.sign_in.refresh(newest.refresh_token)
    fixed_clock.advance(seconds)
    with pytest.raises(Unauthenticated):
        await site.sign_in.refresh(first)
    with pytest.raises(Unauthenticated):
        await site.sign_in.refresh(newest.refresh_token)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_access_token(newest.access_token)
    async with site.db.read() as session:
        reused = select(AuditEvent).where(AuditEvent.action == "session.reused")
        assert len(list(await session.scalars(reused))) == 1


async def test_refreshes_at_once_agree_on_one_successor(site: Site):
    await site.join("ada")
    first = (await site.enter("ada")).refresh_token
    renewed = await asyncio.gather(*(site.sign_in.refresh(first) for _ in range(4)))
    assert len({item.refresh_token for item in renewed}) == 1


async def test_an_access_token_lasts_ten_minutes_and_says_nothing_of_rights(
    site: Site, fixed_clock
):
    await site.join("ada", Role.ADMIN)
    token = (await site.enter("ada")).access_token
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "tid", "sid", "iat", "exp"}
    assert claims["exp"] - claims["iat"] == 600
    fixed_clock.advance(599)
    assert await site.sign_in.principal_of_access_token(token)
    fixed_clock.advance(1)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_access_token(token)


async def test_forged_access_tokens_are_refused(site: Site):
    await site.join("ada")
    await site.join("bob")
    good = (await site.enter("ada")).access_token
    others = (await site.enter("bob")).session_id
    claims = jwt.decode(good, options={"verify_signature": False})
    header = jwt.get_unverified_header(good)
    key, foreign = site.secrets.key("sessions"), Secrets(["f" * 40]).key("sessions")
    now = int(clock.now().timestamp())

    def made(key_=key, alg="HS256", typ="at+jwt", kid=header["kid"], drop=(), **changes) -> str:
        body = {k: v for k, v in (claims | changes).items() if k not in drop}
        return jwt.encode(body, key_, algorithm=alg, headers={"typ": typ, "kid": kid})

    def raw(changed: dict, signature: str = "") -> str:
        head = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
        return f"{head}.{good.split('.')[1]}.{signature}"

    assert await site.sign_in.principal_of_access_token(made())
    forged = {
        "another key": made(foreign),
        "another of our keys": made(site.secrets.key("cursors")),
        "an unknown key id": made(kid="sj-00000000"),
        "no key id": made(kid=""),
        "another algorithm": raw(header | {"alg": "HS384"}, good.rpartition(".")[2]),
        "alg none": raw(header | {"alg": "none"}),
        "alg None": raw(header | {"alg": "nOnE"}),
        "a cut signature": good.rpartition(".")[0] + ".",
        "another type": made(typ="JWT"),
        "unknown crit": raw(header | {"crit": ["x"]}, good.rpartition(".")[2]),
        "another issuer": made(iss="https://evil.example"),
        "another audience": made(aud="other"),
        "somebody else's session": made(sid=others),
        "another tenant": made(tid="acme"),
        "an unknown session": made(sid="0" * 32),
        "expired": made(exp=now - 1),
        "a text for exp": made(exp=str(now + 600)),
        "no end": made(drop=["exp"]),
        "nobody": made(drop=["sub"]),
        "not JSON": "eyJ.e30.x",
        "too long": good + "x" * 5000,
        "empty": "",
    }
    let_in = []
    for name, token in forged.items():
        try:
            await site.sign_in.principal_of_access_token(token)
        except Unauthenticated:
            continue
        let_in.append(name)
    assert let_in == []


async def test_a_cookie_no_one_was_given_is_nobody(site: Site):
    await site.join("ada")
    program = await site.enter("ada")
    for planted in ("", "sj_session_" + "a" * 43, program.refresh_token, program.session_id):
        with pytest.raises(Unauthenticated):
            await site.sign_in.principal_of_cookie(planted)


async def test_after_a_rotation_of_the_key_older_tokens_count_while_it_is_kept(site: Site):
    await site.join("ada")
    signed_in = await site.enter("ada")
    keys = [["n" * 40, "k" * 40], ["n" * 40]]
    kept, dropped = (
        SignIn(site.db, Secrets(names), SqlLimits(site.db), no_mail(), issuer=ISSUER)
        for names in keys
    )
    assert await kept.principal_of_access_token(signed_in.access_token)
    for call in (
        dropped.principal_of_access_token(signed_in.access_token),
        dropped.refresh(signed_in.refresh_token),
    ):
        with pytest.raises(Unauthenticated):
            await call


# Passwords and links


async def test_changing_a_password_ends_every_other_session(site: Site):
    await site.join("ada")
    here, there = await site.enter("ada", kind="browser"), await site.enter("ada")
    who = await site.sign_in.principal_of_cookie(here.cookie)

    with pytest.raises(Unauthenticated, match="present password"):
        await site.sign_in.change_password(who, "wrong", OTHER_PASSWORD, HOME)
    assert await site.sign_in.change_password(who, PASSWORD, OTHER_PASSWORD, HOME) == 1

    assert await site.sign_in.principal_of_cookie(here.cookie)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_access_token(there.access_token)
    with pytest.raises(Unauthenticated):
        await site.enter("ada")
    assert (await site.enter("ada", OTHER_PASSWORD)).access_token


async def test_a_token_changes_no_password(site: Site):
    who = await site.who(await site.join("ada"))
    with pytest.raises(Forbidden):
        await site.sign_in.change_password(
            replace(who, api_token_id="t"), PASSWORD, OTHER_PASSWORD, HOME
        )


@pytest.mark.parametrize(
    "password",
    [
        "kettle",
        "fourteen chars",
        "aaaaaaaaaaaaaaaaaaaaa",
        "abcdefghijklmnopqrst",
        "12345678901234567890",
        "abababababababababab",
        "ada.lovelace@x.org",
        "x" * 257,
    ],
)
def test_passwords_that_are_easily_guessed_are_refused(password: str):
    with pytest.raises(InvalidInput) as refused:
        passwords.check_new(password, email="ada.lovelace@x.org", names=("Ada Lovelace",))
    assert refused.value.field == "password"
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [PASSWORD, OTHER_PASSWORD, "señal azul, río frío", "日本語のとても長いパスワードです"],
)
def test_long_passwords_of_any_script_are_accepted(password: str):
    assert passwords.check_new(password, email="ada@x.org")


async def test_a_password_is_the_same_however_its_letters_are_composed(site: Site):
    await site.join("ada", password=passwords.check_new("cafe\u0301 au lait chaud"))
    assert (await site.enter("ada", "caf\u00e9 au lait chaud")).access_token


async def test_a_password_kept_with_weaker_parameters_is_kept_anew(site: Site):
    from argon2 import PasswordHasher

    user_id = await site.join("ada")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with site.db.write() as session:
        await session.execute(update(User).where(User.id == user_id).values(password_hash=weak))
    await site.enter("ada")
    async with site.db.read() as session:
        kept = (await session.get_one(User, user_id)).password_hash
    assert "m=19456,t=2,p=1" in kept
    assert (await site.enter("ada")).access_token


async def test_the_first_owner_is_made_by_a_link_that_works_once(site: Site, fixed_clock):
    assert await site.sign_in.needs_owner()
    older = await site.sign_in.make_owner_link(site.owner)
    link = await site.sign_in.make_owner_link(site.owner)

    async def claim(secret: str):
        return await site.sign_in.claim_owner(
            secret, email="Boss@X.org", name="Boss", password=OTHER_PASSWORD, client=HOME
        )

    with pytest.raises(LinkExpired):
        await claim(older)
    with pytest.raises(InvalidInput):
        await site.sign_in.claim_owner(
            link, email="boss@x.org", name="", password="short", client=HOME
        )
    signed_in = await claim(link)
    with pytest.raises(LinkExpired):
        await claim(link)

    who = await site.sign_in.principal_of_cookie(signed_in.cookie)
    assert (who.user_id, who.role, who.name) == (site.owner.user_id, Role.OWNER, "Boss")
    assert not await site.sign_in.needs_owner()
    assert (await site.enter("boss", OTHER_PASSWORD)).access_token
    with pytest.raises(Conflict, match="has a password"):
        await site.sign_in.make_owner_link(site.owner)


async def test_an_owner_link_ends_after_an_hour(site: Site, fixed_clock):
    link = await site.sign_in.make_owner_link(site.owner)
    fixed_clock.advance(3600)
    with pytest.raises(LinkExpired):
        await site.sign_in.claim_owner(
            link, email="boss@x.org", name="", password=OTHER_PASSWORD, client=HOME
        )


async def test_a_password_link_works_once_and_ends_every_session(site: Site):
    await site.join("ada")
    session = await site.enter("ada", kind="browser")
    link = await site.sign_in.make_password_link(site.owner, "ada@x.org")

    async def use() -> str:
        try:
            return await site.sign_in.set_password(link, OTHER_PASSWORD)
        except LinkExpired:
            return "expired"

    assert sorted(await asyncio.gather(use(), use())) == ["ada@x.org", "expired"]
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_cookie(session.cookie)
    assert (await site.enter("ada", OTHER_PASSWORD)).access_token


@pytest.mark.parametrize("change", ["address", "inactive", "newer link", "password set", "purpose"])
async def test_a_password_link_ends_when_what_it_was_made_for_changes(site: Site, change: str):
    user_id = await site.join("ada")
    link = await site.sign_in.make_password_link(site.owner, "ada@x.org")
    if change == "newer link":
        await site.sign_in.make_password_link(site.owner, "ada@x.org")
    elif change == "password set":
        who = await site.sign_in.principal_of_access_token((await site.enter("ada")).access_token)
        await site.sign_in.change_password(who, PASSWORD, OTHER_PASSWORD, HOME)
    else:
        async with site.db.write() as session:
            if change == "purpose":
                await session.execute(update(OneTimeLink).values(purpose="verify"))
            else:
                changed = {"email": "new@x.org"} if change == "address" else {"active": False}
                await session.execute(update(User).where(User.id == user_id).values(**changed))
    with pytest.raises(LinkExpired):
        await site.sign_in.set_password(link, "another long pass phrase")


async def test_only_who_may_give_a_role_makes_a_password_link_for_it(site: Site):
    boss = await site.join("boss", Role.OWNER)
    admin = await site.who(await site.join("admin", Role.ADMIN))
    member = await site.who(await site.join("ada"))
    for who, whose in ((admin, "boss@x.org"), (member, "admin@x.org")):
        with pytest.raises(Forbidden):
            await site.sign_in.make_password_link(who, whose)
    assert await site.sign_in.make_password_link(admin, "ada@x.org")
    assert await site.sign_in.make_password_link(await site.who(boss), "boss@x.org")


async def test_an_admin_of_one_tenant_makes_no_password_link_for_an_account_of_two(site: Site):
    from engine.people import tenants

    async with site.db.write() as session:
        other = await tenants.create_tenant(session, site.owner, "second")
        member = await members.add_member(session, site.owner, email="ada@x.org")
        elsewhere = replace(site.owner, tenant_id=other.id)
        await members.add_member(session, elsewhere, email="ada@x.org")
    assert member.email == "ada@x.org"
    with pytest.raises(Forbidden, match="outside this tenant"):
        await site.sign_in.make_password_link(site.owner, "ada@x.org")


async def test_a_session_belongs_to_the_tenant_that_was_chosen(site: Site):
    from engine.people import tenants

    user_id = await site.join("ada")
    async with site.db.write() as session:
        other = await tenants.create_tenant(session, site.owner, "second")
        elsewhere = replace(site.owner, tenant_id=other.id)
        await members.add_member(session, elsewhere, email="ada@x.org", role=Role.ADMIN)

    async def enter(tenant: str):
        signed_in = await site.sign_in.with_password(
            "ada@x.org", PASSWORD, kind="api", client=SignInClient(), tenant=tenant
        )
        return await site.sign_in.principal_of_access_token(signed_in.access_token)

    first, second = await enter(""), await enter("second")
    assert (first.tenant_id, first.role) == (site.owner.tenant_id, Role.MEMBER)
    assert (second.tenant_id, second.role) == (other.id, Role.ADMIN)
    assert first.user_id == second.user_id == user_id
    assert Scope.KB_ADMIN not in first.scopes
    with pytest.raises(Unauthenticated):
        await enter("acme")
