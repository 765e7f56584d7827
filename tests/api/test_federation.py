"""Signing in with an account elsewhere: the flow, who gets in, and what a stranger tries."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx2
import jwt
import pytest
from sqlalchemy import delete, func, select, update

from cli.serve import build_host
from engine import clock
from engine.db.tables import (
    AuditEvent,
    Ephemeral,
    Identity,
    OidcProvider,
    SignInAttempt,
    User,
    UserGroupMember,
    Workspace,
)
from engine.domain import Principal, Role
from engine.engine import Engine
from engine.errors import Conflict, Forbidden, InvalidInput, NotFound, StepUpRequired
from engine.people.federation.providers import NewProvider
from engine.people.sessions import SignInClient
from engine.runtime import open_engine
from engine.search.links import path_of
from tests.fakes.homes import fill, home_settings
from tests.fakes.identity_provider import CLIENT, IdentityProvider, open_identity_provider

URL = "https://ask.example.com"
HTML = {"accept": "text/html"}
FORM = HTML | {"origin": URL}
PASSWORD = "plum kettle orbit 42"
START = "/auth/default/idp/start"


@dataclass
class Site:
    engine: Engine
    client: httpx2.AsyncClient
    idp: IdentityProvider
    owner: Principal

    async def provide(self, key="idp", **more: object) -> None:
        new = NewProvider(
            key=key,
            kind="oidc",
            client_id=CLIENT[0],
            client_secret=CLIENT[1],
            issuer=self.idp.issuer,
            name="Acme SSO",
        )
        await self.engine.people.providers.add(self.owner, replace(new, **more))

    async def start(self, path=START, **headers: str) -> str:
        """The address the browser is sent to."""
        found = await self.client.get(path, headers=HTML | headers)
        assert found.status_code == 303, found.text
        return found.headers["location"]

    async def back(self, address: str) -> httpx2.Response:
        """What the callback answers."""
        return await self.client.get(address.removeprefix(URL), headers=HTML)

    async def sign_in(self, path=START, **claims: object) -> httpx2.Response:
        return await self.back(self.idp.approve(await self.start(path), **claims))

    async def me(self) -> str:
        """Who the account page says is signed in; empty for nobody."""
        page = await self.client.get("/account", headers=HTML)
        return page.text.partition("<h1>")[2].partition("</h1>")[0] if page.is_success else ""

    async def join(self, email="ada@example.com", *, verified=False, role=Role.MEMBER) -> str:
        """A member with a password; their id."""
        people = self.engine.people
        member = await people.add_member(self.owner, email, name="Local Ada", role=role)
        link = await people.sign_in.make_password_link(self.owner, email)
        await people.sign_in.set_password(link, PASSWORD)
        if verified:
            async with self.engine.db.write() as session:
                await session.execute(
                    update(User)
                    .where(User.id == member.user_id)
                    .values(email_verified_at=clock.now())
                )
        return member.user_id

    async def count(self, table: type) -> int:
        async with self.engine.db.read() as session:
            return int(await session.scalar(select(func.count()).select_from(table)) or 0)

    async def actions(self) -> list[str]:
        async with self.engine.db.read() as session:
            return list(await session.scalars(select(AuditEvent.action)))

    async def refill(self) -> None:
        async with self.engine.db.write() as session:
            await session.execute(delete(Ephemeral))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = home_settings(tmp_path, server__public_url=URL, server__private_issuers=True)
    async with open_identity_provider() as idp, open_engine(settings) as engine:
        app = build_host(engine, settings, keyless=None)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url=URL) as client,
        ):
            yield Site(engine, client, idp, await engine.people.owner())


JOINING = {"jit_role": Role.MEMBER, "allowed_domains": ("example.com",)}


async def test_a_newcomer_of_the_domain_joins_by_signing_in(site: Site) -> None:
    await site.provide(**JOINING)
    page = await site.client.get("/sign-in?return_to=/account", headers=HTML)
    assert 'href="/auth/default/idp/start?return_to=/account">Acme SSO' in page.text
    entered = await site.sign_in(f"{START}?return_to=/account")
    assert (entered.status_code, entered.headers["location"]) == (303, "/account")
    assert await site.me() == "Ada Lovelace"
    again = await site.sign_in()  # known by itself now, whatever its address says
    assert again.status_code == 303
    assert await site.count(User) == 2
    assert {"member.join", "identity.link", "session.start"} <= set(await site.actions())
    assert await site.count(SignInAttempt) == 0


async def test_the_request_has_pkce_state_and_nonce_and_our_own_address(site: Site) -> None:
    await site.provide()
    asked = dict(parse_qsl(urlsplit(await site.start()).query))
    assert asked["redirect_uri"] == f"{URL}/auth/default/idp/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["scope"] == "openid email profile"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    spoofed = await site.start(**{"x-forwarded-host": "evil.example", "x-forwarded-proto": "http"})
    assert dict(parse_qsl(urlsplit(spoofed).query))["redirect_uri"] == asked["redirect_uri"]
    foreign = await site.client.get(START, headers=HTML | {"host": "evil.example"})
    assert foreign.status_code == 421
    cookies = [item.name for item in site.client.cookies.jar]
    assert all(name.startswith("__Host-sj_oauth_") for name in cookies)
    assert len(cookies) == 2  # two tabs


def forged_by_stranger(idp: IdentityProvider):
    def sign(claims):
        return jwt.encode(claims, idp.pem(idp.stranger), algorithm="RS256", headers={"kid": "k1"})

    return sign


async def test_a_forged_token_makes_nobody_and_fetches_nothing(site: Site) -> None:
    await site.provide(**JOINING)
    trap = f"{site.idp.issuer}/trap"
    for more in (
        {"sign": forged_by_stranger(site.idp)},
        {"sign": lambda claims: jwt.encode(claims, None, algorithm="none")},
        {"header": {"jku": trap}},
        {"header": {"x5u": trap}},
        {"aud": "other"},
        {"iss": "https://other.example.com"},
        {"nonce": "another"},
        {"exp": 1},
        {"azp": "other"},
    ):
        refused = await site.sign_in(**more)
        assert refused.status_code == 401, more
        assert "This sign-in is not valid" in refused.text
        await site.refill()
    assert "trap" not in site.idp.calls
    assert await site.count(User) == 1
    assert await site.count(Identity) == 0
    assert await site.me() == ""


async def test_what_comes_back_belongs_to_one_browser_provider_and_moment(site: Site) -> None:
    await site.provide(**JOINING)
    await site.provide("other", issuer=site.idp.issuer + "/")
    asked = await site.start()
    back = site.idp.approve(asked)
    kept = site.client.cookies

    site.client.cookies = httpx2.Cookies()  # another browser
    assert (await site.back(back)).status_code == 400
    name = next(item.name for item in kept.jar if item.name.startswith("__Host-sj_oauth_"))
    site.client.cookies.set(name, "x" * 43, domain="ask.example.com")
    assert (await site.back(back)).status_code == 400
    site.client.cookies = kept
    elsewhere = back.replace("/idp/", "/other/")  # provider A's code at B's address
    assert (await site.back(elsewhere)).status_code == 400
    assert (await site.back(back.replace("state=", "state=x"))).status_code == 400
    assert await site.me() == ""

    assert (await site.back(back)).status_code == 303
    site.client.cookies = kept
    assert (await site.back(back)).status_code == 400  # twice

    asked = await site.start()
    async with site.engine.db.write() as session:
        old = clock.now() - timedelta(seconds=1)
        await session.execute(update(SignInAttempt).values(expires_at=old))
    assert (await site.back(site.idp.approve(asked))).status_code == 400


async def test_an_error_of_the_provider_is_shown_as_text(site: Site) -> None:
    await site.provide()
    for said, shown in (
        ("access_denied", "(access_denied)"),
        ("<script>alert(1)</script>", "(no reason given)"),
    ):
        back = site.idp.approve(await site.start(), answer={"error": said, "code": ""})
        refused = await site.back(back)
        assert refused.status_code == 400
        assert shown in refused.text
        assert "<script>alert" not in refused.text


async def test_a_mixed_up_answer_a_wrong_code_and_a_used_one_are_refused(site: Site) -> None:
    site.idp.metadata = {"authorization_response_iss_parameter_supported": True}
    await site.provide(**JOINING)
    asked = await site.start()
    assert (await site.back(site.idp.approve(asked))).status_code == 400  # says no issuer
    for issuer, status in (("https://evil.example", 400), (site.idp.issuer, 303)):
        back = site.idp.approve(await site.start(), answer={"iss": issuer})
        assert (await site.back(back)).status_code == status
    for code in ("code-0", "nonsense"):
        back = site.idp.approve(await site.start(), answer={"iss": site.idp.issuer, "code": code})
        site.idp.codes.pop("code-0", None)
        assert (await site.back(back)).status_code == 400
        await site.refill()


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https:evil.example", "/\\evil.example", "/%5cevil.example", "/a\r\nb"],
)
async def test_a_sign_in_leads_to_no_other_site(site: Site, target: str) -> None:
    await site.provide(**JOINING)
    asked = await site.client.get(START, params={"return_to": target}, headers=HTML)
    entered = await site.back(site.idp.approve(asked.headers["location"]))
    assert entered.headers["location"] == "/"


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_an_address_nobody_vouches_for_leads_to_nobodys_account(
    site: Site, verified: object
) -> None:
    await site.provide(link_by_email=True, **JOINING)
    await site.join(verified=True)
    known = await site.sign_in(email_verified=verified)
    unknown = await site.sign_in(email="nobody@example.com", sub="2", email_verified=verified)
    assert (known.status_code, unknown.status_code) == (403, 403)
    told = [
        answer.text.partition('role="alert">')[2].partition("<")[0] for answer in (known, unknown)
    ]
    assert told[0] == told[1] != ""
    assert await site.count(Identity) == 0
    assert "session.refused" in await site.actions()


async def test_a_vouched_address_links_only_where_the_tenant_says_so(site: Site) -> None:
    await site.provide()
    ada = await site.join(verified=True)
    assert (await site.sign_in()).status_code == 403
    async with site.engine.db.write() as session:
        await session.execute(update(OidcProvider).values(link_by_email=True))
    assert (await site.sign_in()).status_code == 303
    async with site.engine.db.read() as session:
        [identity] = await session.scalars(select(Identity))
    assert identity.user_id == ada
    # The address was given to somebody else: their account is another one.
    site.client.cookies.clear()
    assert (await site.sign_in(sub="person-2")).status_code == 403


async def test_who_registered_a_foreign_address_first_loses_it_to_its_person(site: Site) -> None:
    await site.provide(link_by_email=True)
    await site.join(verified=False)
    form = {"email": "ada@example.com", "password": PASSWORD}
    attacker = await site.client.post("/api/v1/user/login", json=form)
    token = {"authorization": f"Bearer {attacker.json()['access_token']}"}
    assert (await site.client.get("/api/v1/user", headers=token)).status_code == 200
    assert (await site.sign_in()).status_code == 303
    assert (await site.client.get("/api/v1/user", headers=token)).status_code == 401
    assert (await site.client.post("/api/v1/user/login", json=form)).status_code == 401


async def test_a_deactivated_member_does_not_come_in_by_another_door(site: Site) -> None:
    await site.provide(**JOINING)
    await site.sign_in()
    people = site.engine.people
    await people.change_member(site.owner, "ada@example.com", active=False)
    site.client.cookies.clear()
    assert (await site.sign_in()).status_code == 403
    assert await site.me() == ""


async def test_an_invitation_is_accepted_by_the_address_it_is_for(site: Site) -> None:
    await site.provide()
    await site.engine.people.create_group(site.owner, "support")
    made = await site.engine.people.invitations.invite(
        site.owner, "ada@example.com", role=Role.CURATOR, groups=["support"]
    )
    assert (await site.sign_in(email_verified=False)).status_code == 403
    assert (await site.sign_in()).status_code == 303
    page = await site.client.get("/account", headers=HTML)
    assert "Your role: curator." in page.text
    assert await site.count(UserGroupMember) == 1
    site.client.cookies.clear()
    form = {"link": made.secret, "name": "x", "password": PASSWORD}
    assert (await site.client.post("/invitation", data=form, headers=FORM)).status_code == 410


async def test_groups_follow_the_provider_and_no_others_are_touched(site: Site) -> None:
    people = site.engine.people
    for name in ("support", "sales", "own"):
        await people.create_group(site.owner, name)
    await site.provide(groups={"/sup": "support", "/sal": "sales"}, **JOINING)

    async def groups() -> set[str]:
        return {
            name
            for name in ("support", "sales", "own")
            if await people.list_group_members(site.owner, name)
        }

    await site.sign_in(groups=["/sup", "/unknown"])
    await people.add_to_group(site.owner, "own", "ada@example.com")
    assert await groups() == {"support", "own"}
    await site.sign_in(groups=["/sal"])
    assert await groups() == {"sales", "own"}
    await site.sign_in()  # says nothing of groups
    assert await groups() == {"sales", "own"}
    # As Entra above 200 groups; and above 5, where the token travels in an address.
    for more in ({"_claim_names": {"groups": "src1"}, "groups": []}, {"hasgroups": True}):
        await site.sign_in(**more)
        assert await groups() == {"sales", "own"}
        async with site.engine.db.read() as session:
            told = select(AuditEvent.detail).where(AuditEvent.action == "group.kept")
            assert [item["provider"] for item in await session.scalars(told)][-1:] == ["idp"]
    await site.sign_in(groups=[])
    assert await groups() == {"own"}


async def test_a_signed_in_member_connects_and_disconnects_an_account(site: Site) -> None:
    await site.provide()
    ada = await site.join("local@example.com")
    form = {"email": "local@example.com", "password": PASSWORD}
    await site.client.post("/sign-in", data=form, headers=FORM)
    csrf = await _csrf(site)
    pressed = await site.client.post("/account/accounts/idp", data={"csrf": csrf}, headers=FORM)
    assert pressed.headers["location"] == "/account/confirm"
    confirm = {"csrf": csrf, "password": PASSWORD}
    await site.client.post("/account/confirm", data=confirm, headers=FORM)
    csrf = await _csrf(site)
    page = await site.client.post("/account/accounts/idp", data={"csrf": csrf}, headers=FORM)
    asked = _continue(page.text, site.idp)
    done = await site.back(site.idp.approve(asked))
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    shown = await site.client.get("/account", headers=HTML)
    assert "Acme SSO: Ada Lovelace" in shown.text
    async with site.engine.db.read() as session:
        [identity] = await session.scalars(select(Identity))
    assert identity.user_id == ada

    site.client.cookies.clear()
    assert (await site.sign_in()).status_code == 303
    assert await site.me() == "Ada Lovelace"  # the profile follows the provider
    await site.client.post("/sign-in", data=form, headers=FORM)
    other = await site.join("other@example.com")
    who = await _principal(site, other)
    with pytest.raises(Conflict):
        await _connect(site, who)

    shown = await site.client.get("/account", headers=HTML)
    assert f'value="{identity.id}"' in shown.text


def _continue(page: str, idp: IdentityProvider) -> str:
    """Where a page's link leads on to the provider."""
    found = re.search(r'href="([^"]+)">Continue', page)
    assert found is not None, page
    assert unescape(found[1]).startswith(idp.issuer)
    return unescape(found[1])


async def _csrf(site: Site) -> str:
    page = await site.client.get("/account", headers=HTML)
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


async def _principal(site: Site, user_id: str) -> Principal:
    signing = site.engine.people.sign_in
    async with site.engine.db.read() as session:
        user = await session.get_one(User, user_id)
    client = SignInClient()
    signed_in = await signing.with_password(user.email, PASSWORD, kind="browser", client=client)
    who = await signing.principal_of_cookie(signed_in.cookie)
    await signing.step_up(who, password=PASSWORD, client=client)
    return replace(who, assured=True)


async def _connect(site: Site, who: Principal) -> None:
    from engine.people.federation.federation import ProviderAnswer

    federation = site.engine.people.federation
    begun = await federation.begin(
        "default", "idp", SignInClient(), return_to="/", purpose="connect", principal=who
    )
    back = dict(parse_qsl(urlsplit(site.idp.approve(begun.url)).query))
    answer = ProviderAnswer(state=back["state"], code=back["code"], browser=begun.secret)
    await federation.finish("default", "idp", answer, SignInClient())


async def test_two_tenants_with_one_provider_know_two_people(site: Site) -> None:
    await site.provide(**JOINING)
    made = await site.engine.people.create_tenant(site.owner, "beta")
    beta = replace(site.owner, tenant_id=made.id)
    await site.engine.people.providers.add(
        beta,
        NewProvider(
            key="idp",
            kind="oidc",
            client_id=CLIENT[0],
            client_secret=CLIENT[1],
            issuer=site.idp.issuer,
            **JOINING,
        ),
    )
    await site.sign_in()
    site.client.cookies.clear()
    # Beta's provider says an address that somebody has in another tenant: it is not theirs.
    assert (await site.sign_in("/auth/beta/idp/start")).status_code == 403
    entered = await site.sign_in("/auth/beta/idp/start", email="eve@example.com")
    assert entered.status_code == 303
    async with site.engine.db.read() as session:
        rows = list(await session.scalars(select(Identity).order_by(Identity.id)))
    assert len({row.tenant_id for row in rows}) == len({row.user_id for row in rows}) == 2
    assert len({(row.provider, row.subject) for row in rows}) == 1


async def test_userinfo_of_another_person_is_not_believed(site: Site) -> None:
    await site.provide(**JOINING)
    site.idp.userinfo = {"sub": "person-2", "email": "eve@example.com", "email_verified": True}
    assert (await site.sign_in(email=None, email_verified=None)).status_code == 401
    site.idp.userinfo["sub"] = "person-1"
    assert (await site.sign_in(email=None, email_verified=None)).status_code == 303


async def test_who_has_only_an_account_elsewhere_confirms_with_it(site: Site) -> None:
    await site.provide(**JOINING)
    await site.sign_in()
    page = await site.client.get("/account/confirm", headers=HTML)
    assert 'action="/account/confirm/idp"' in page.text
    before = site.client.cookies["__Host-sj_session"]
    for auth_time, status in ((1, 401), (None, 401), (clock.now().timestamp() // 1 + 1, 303)):
        page = await site.client.post(
            "/account/confirm/idp", data={"csrf": await _csrf(site)}, headers=FORM
        )
        asked = _continue(page.text, site.idp)
        assert dict(parse_qsl(urlsplit(asked).query))["prompt"] == "login"
        time_ = int(auth_time) if auth_time is not None else None
        done = await site.back(site.idp.approve(asked, auth_time=time_))
        assert done.status_code == status
    assert site.client.cookies["__Host-sj_session"] != before
    begun = await site.client.post("/account/app", data={"csrf": await _csrf(site)}, headers=FORM)
    assert begun.status_code == 200  # what takes a confirmation


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"issuer": "https://other.example.com"}, "names the issuer"),
        ({"jwks_uri": None}, "no usable jwks_uri"),
        ({"token_endpoint": None}, "no usable token_endpoint"),
        ({"issuer": None}, "names the issuer"),
        ({"token_endpoint": "ftp://x/y"}, "no usable token_endpoint"),
    ],
)
async def test_metadata_that_can_not_be_right_is_named(
    site: Site, metadata: dict[str, object], said: str
) -> None:
    await site.provide()
    site.idp.metadata = metadata
    with pytest.raises(InvalidInput, match=said):
        await site.engine.people.providers.check(site.owner, "idp")


async def test_a_slash_at_the_end_of_an_issuer_is_the_providers_to_say(site: Site) -> None:
    await site.provide(issuer=site.idp.issuer + "/", **JOINING)
    site.idp.metadata = {"userinfo_endpoint": None}
    checked = await site.engine.people.providers.check(site.owner, "idp")
    assert (checked.issuer, checked.keys) == (site.idp.issuer, 1)
    assert (await site.sign_in()).status_code == 303


async def test_admins_manage_providers_over_rest_and_nobody_sees_a_secret(site: Site) -> None:
    await site.join("boss@example.com", role=Role.ADMIN)
    form = {"email": "boss@example.com", "password": PASSWORD}
    token = (await site.client.post("/api/v1/user/login", json=form)).json()["access_token"]
    plain = {"authorization": f"Bearer {token}"}
    confirmed = await site.client.post(
        "/api/v1/user/step_up", json={"password": PASSWORD}, headers=plain
    )
    headers = {"authorization": f"Bearer {confirmed.json()['access_token']}"}
    body = {
        "key": "idp",
        "kind": "oidc",
        "client_id": CLIENT[0],
        "client_secret": CLIENT[1],
        "issuer": site.idp.issuer,
    }
    path = "/api/v1/identity_providers"
    assert (await site.client.post(path, json=body, headers=plain)).status_code == 403
    made = await site.client.post(path, json=body, headers=headers)
    assert (made.status_code, made.json()["redirect_uri"]) == (
        201,
        f"{URL}/auth/default/idp/callback",
    )
    assert (await site.client.post(path, json=body, headers=headers)).status_code == 409
    listed = await site.client.get(path, headers=headers)
    checked = await site.client.post(f"{path}/idp/check", headers=headers)
    assert checked.json()["keys"] == 1
    async with site.engine.db.read() as session:
        [row] = await session.scalars(select(OidcProvider))
        audited = [event.detail for event in await session.scalars(select(AuditEvent))]
    for text in (made.text, listed.text, checked.text, repr(row.client_secret), repr(audited)):
        assert CLIENT[1] not in text
    gone = await site.client.delete(f"{path}/idp", headers=headers)
    assert gone.json() == {"removed": "idp"}
    assert (await site.client.get(START, headers=HTML)).status_code == 404


async def test_a_secret_in_another_row_is_worth_nothing(site: Site) -> None:
    await site.provide(**JOINING)
    await site.provide("other", client_secret="another", **JOINING)
    async with site.engine.db.write() as session:
        rows = {row.key: row for row in await session.scalars(select(OidcProvider))}
        rows["other"].client_secret = rows["idp"].client_secret
    assert (await site.sign_in("/auth/default/other/start")).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"key": "Not A Key"}, "key"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "https://id.example.com/?a=b"}, "issuer"),
        ({"issuer": "ftp://id.example.com"}, "issuer"),
        ({"kind": "github", "client_secret": ""}, "client_secret"),
        ({"kind": "entra", "issuer": "https://login.x.com/common/v2.0"}, "allowed_tenants"),
        ({"jit_role": Role.ADMIN, "allowed_domains": ("x.org",)}, "jit_role"),
        ({"jit_role": Role.OWNER, "allowed_domains": ("x.org",)}, "jit_role"),
        ({"jit_role": Role.MEMBER}, "allowed_domains"),
        ({"allowed_domains": ("not a domain",)}, "allowed_domains"),
        ({"client_id": " "}, "client_id"),
    ],
)
async def test_a_provider_that_can_not_work_is_refused(
    site: Site, wrong: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await site.provide(**wrong)
    assert refused.value.field == field


async def test_only_admins_who_confirmed_change_providers(site: Site) -> None:
    await site.provide()
    for role in (Role.CURATOR, Role.MEMBER, Role.GUEST):
        who = replace(site.owner, role=role)
        for call in (site.engine.people.providers.list_all(who),):
            with pytest.raises(Forbidden):
                await call
    with pytest.raises(StepUpRequired):
        await site.engine.people.providers.remove(
            replace(site.owner, assured=False, session_id="s"), "idp"
        )
    with pytest.raises(NotFound):
        await site.engine.people.providers.remove(site.owner, "none")


async def test_without_a_public_address_no_provider_is_added(tmp_path: Path) -> None:
    async with open_engine(home_settings(tmp_path)) as engine:
        new = NewProvider("idp", "oidc", "client", "secret", "https://id.example.com")
        with pytest.raises(Conflict, match=r"server\.public_url"):
            await engine.people.providers.add(await engine.people.owner(), new)


async def test_a_private_issuer_needs_the_operators_word(tmp_path: Path) -> None:
    async with open_engine(home_settings(tmp_path, server__public_url=URL)) as engine:
        owner = await engine.people.owner()
        new = NewProvider("idp", "oidc", "client", "secret", "http://127.0.0.1:9")
        with pytest.raises(InvalidInput, match="private_issuers"):
            await engine.people.providers.add(owner, new)
        new = replace(new, issuer="https://127.0.0.1:9")
        await engine.people.providers.add(owner, new)
        with pytest.raises(InvalidInput, match="private or reserved"):
            await engine.people.providers.check(owner, "idp")


async def test_somebody_in_a_channel_opens_a_source_after_one_click(site: Site) -> None:
    """Known to the bot alone, they read the document they came for; a member is signed in."""
    engine, owner = site.engine, site.owner
    await fill(engine.settings, {"leave.md": "# Leave\n\nEverybody gets thirty days of leave.\n"})
    tenant_id = owner.tenant_id
    async with engine.db.write() as session:
        workspace = Workspace(
            tenant_id=tenant_id, platform="slack", external_id="T1", name="Acme", state="active"
        )
        session.add(workspace)
        await session.flush()
        session.add(
            Identity(
                tenant_id=tenant_id,
                workspace_id=workspace.id,
                provider="slack",
                subject="U1",
                name="Ada",
                is_full_member=True,
                seen_at=clock.now(),
            )
        )
    await engine.knowledge_bases.grant(owner, "team", f"w:{workspace.id}")
    owner = await engine.people.owner()
    listed = (await engine.documents.page(owner, kb="team")).documents
    board = (await engine.documents.page(owner, kb="board")).documents
    await site.provide("slack", kind="slack", name="Slack")
    team = "https://slack.com/team_id"

    async def open_source(document_id: str, sub: str, team_id: str) -> httpx2.Response:
        site.client.cookies.clear()
        asked = await site.client.get(path_of(document_id), headers=HTML)
        page = await site.client.get(asked.headers["location"], headers=HTML)
        way = page.text.partition('href="/auth/')[2].partition('"')[0].replace("&amp;", "&")
        return await site.sign_in(f"/auth/{way}", sub=sub, **{team: team_id})

    entered = await open_source(listed[0].id, "U1", "T1")
    assert entered.headers["location"].startswith("/v/")
    shown = await site.client.get(
        entered.headers["location"], headers=HTML | {"sec-fetch-user": "?1"}
    )
    assert "thirty days of leave" in shown.text
    assert await site.me() == ""  # that document, and nothing else
    secret = await open_source(board[0].id, "U1", "T1")
    assert (await site.client.get(secret.headers["location"], headers=HTML)).status_code == 404
    for sub, team_id in (("U9", "T1"), ("U1", "T9")):
        assert (await open_source(listed[0].id, sub, team_id)).status_code == 403
        await site.refill()

    ada = await site.join("member@example.com")
    async with engine.db.write() as session:
        await session.execute(update(Identity).where(Identity.subject == "U1").values(user_id=ada))
    entered = await open_source(listed[0].id, "U1", "T1")
    assert entered.headers["location"] == path_of(listed[0].id)
    assert await site.me() != ""
