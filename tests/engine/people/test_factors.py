"""Second factors: authenticator apps and the codes that stand in for one."""

from __future__ import annotations

import base64

import pytest
from sqlalchemy import select, update

from engine import clock
from engine.db.tables import AuditEvent, Factor, RecoveryCode
from engine.domain import Principal
from engine.errors import (
    CodeRequired,
    Conflict,
    InvalidInput,
    NotFound,
    RateLimited,
    StepUpRequired,
    Unauthenticated,
)
from engine.people.factors import STEP_S, totp
from engine.people.sessions import SignInClient
from tests.engine.people.conftest import HOME, PASSWORD, Site

RFC_SECRET = b"12345678901234567890"  # RFC 6238, appendix B


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(at: int, code: str):
    assert totp(RFC_SECRET, at // STEP_S) == code


class App:
    """An authenticator app."""

    def __init__(self, secret: str) -> None:
        self.secret = base64.b32decode(secret)

    def code(self, steps: int = 0) -> str:
        return totp(self.secret, int(clock.now().timestamp()) // STEP_S + steps)


async def confirmed(site: Site, name: str) -> Principal:
    """Somebody signed in, who has just confirmed who they are."""
    signed_in = await site.enter(name)
    who = await site.sign_in.principal_of_access_token(signed_in.access_token)
    admin = await site.sign_in.step_up(who, password=PASSWORD, client=HOME)
    return await site.sign_in.principal_of_access_token(admin.access_token)


async def enrolled(site: Site, fixed_clock, name: str = "ada") -> tuple[App, list[str]]:
    await site.join(name)
    who = await confirmed(site, name)
    secret, url = await site.sign_in.begin_app(who)
    assert url == f"otpauth://totp/Scrubjay%3A{name}%40x.org?secret={secret}&issuer=Scrubjay"
    app = App(secret)
    with pytest.raises(InvalidInput):
        await site.sign_in.confirm_app(who, "000000")
    codes = await site.sign_in.confirm_app(who, app.code())
    fixed_clock.advance(STEP_S)
    return app, codes


async def test_nothing_is_set_up_without_confirming_who_asks(site: Site):
    await site.join("ada")
    signed_in = await site.enter("ada")
    who = await site.sign_in.principal_of_access_token(signed_in.access_token)
    for call in (
        site.sign_in.begin_app(who),
        site.sign_in.confirm_app(who, "1"),
        site.sign_in.remove_app(who),
        site.sign_in.begin_app(await site.who(who.user_id or "")),
    ):
        with pytest.raises(StepUpRequired):
            await call


async def test_a_confirmation_lasts_ten_minutes_and_only_for_its_own_token(site: Site, fixed_clock):
    await site.join("ada")
    signed_in = await site.enter("ada")
    who = await site.sign_in.principal_of_access_token(signed_in.access_token)
    admin = await site.sign_in.step_up(who, password=PASSWORD, client=HOME)
    again = await site.sign_in.principal_of_access_token(signed_in.access_token)
    assert (await site.sign_in.principal_of_access_token(admin.access_token)).assured
    assert not again.assured
    fixed_clock.advance(599)
    assert (await site.sign_in.principal_of_access_token(admin.access_token)).assured
    fixed_clock.advance(1)
    with pytest.raises(Unauthenticated):
        await site.sign_in.principal_of_access_token(admin.access_token)


async def test_with_an_app_a_password_alone_lets_nobody_in(site: Site, fixed_clock):
    app, _ = await enrolled(site, fixed_clock)
    with pytest.raises(CodeRequired):
        await site.enter("ada")
    for code in ("000000", app.code(-2), app.code(2), ""):
        with pytest.raises(Unauthenticated):
            await enter(site, code)
    with pytest.raises(Unauthenticated, match="password"):
        await enter(site, app.code(), password="wrong")
    signed_in = await enter(site, f" {app.code()[:3]} {app.code()[3:]} ")
    who = await site.sign_in.principal_of_access_token(signed_in.access_token)
    [session] = [s for s in await site.sign_in.list_sessions(who) if s.current]
    assert session.methods == ["pwd", "otp"]


async def enter(site: Site, code: str, password: str = PASSWORD):
    device = SignInClient(address=HOME.address)
    return await site.sign_in.with_password(
        "ada@x.org", password, kind="api", client=device, code=code
    )


async def test_a_code_counts_once_and_one_step_late_or_early(site: Site, fixed_clock):
    app, _ = await enrolled(site, fixed_clock)
    late = app.code(-1)
    now = app.code()
    early = app.code(1)
    # The step before the present one was used to confirm the app.
    with pytest.raises(Unauthenticated):
        await enter(site, late)
    assert await enter(site, now)
    with pytest.raises(Unauthenticated):
        await enter(site, now)
    assert await enter(site, early)
    with pytest.raises(Unauthenticated):
        await enter(site, now)


async def test_a_recovery_code_works_once(site: Site, fixed_clock):
    _, codes = await enrolled(site, fixed_clock)
    assert len(set(codes)) == 10
    assert await enter(site, codes[3].upper())
    with pytest.raises(Unauthenticated):
        await enter(site, codes[3])
    assert await enter(site, codes[4])
    async with site.db.read() as session:
        kept = [row.digest for row in await session.scalars(select(RecoveryCode))]
        factor = (await session.scalars(select(Factor))).one()
        audit = repr([row.detail for row in await session.scalars(select(AuditEvent))])
    assert not set(codes) & set(kept)
    assert factor.secret.startswith("v1.")
    assert not any(code in audit for code in codes)


async def test_with_an_app_a_confirmation_takes_its_code(site: Site, fixed_clock):
    app, _ = await enrolled(site, fixed_clock)
    signed_in = await enter(site, app.code())
    who = await site.sign_in.principal_of_access_token(signed_in.access_token)
    with pytest.raises(Unauthenticated):
        await site.sign_in.step_up(who, password=PASSWORD, client=HOME)
    fixed_clock.advance(STEP_S)
    admin = await site.sign_in.step_up(who, code=app.code(), client=HOME)
    confirmed_ = await site.sign_in.principal_of_access_token(admin.access_token)
    with pytest.raises(Conflict):
        await site.sign_in.begin_app(confirmed_)
    await site.sign_in.remove_app(confirmed_)
    assert (await site.enter("ada")).access_token


async def test_codes_are_not_guessed_by_trying_all(site: Site, fixed_clock):
    await enrolled(site, fixed_clock)
    refused = []
    for at in range(12):
        try:
            await enter(site, f"{at:06}")
        except (Unauthenticated, RateLimited) as error:
            refused.append(type(error))
    assert refused[-1] is RateLimited


async def test_a_secret_put_into_the_row_of_another_is_worth_nothing(site: Site, fixed_clock):
    app, _ = await enrolled(site, fixed_clock)
    await enrolled(site, fixed_clock, "eve")
    async with site.db.write() as session:
        mine = await session.scalar(select(Factor.secret).order_by(Factor.created_at.desc()))
        await session.execute(update(Factor).values(secret=mine, last_step=0))
    with pytest.raises(Unauthenticated):
        await enter(site, app.code())


async def test_a_token_confirms_nothing(site: Site):
    user_id = await site.join("ada")
    with pytest.raises(StepUpRequired):
        await site.sign_in.step_up(await site.who(user_id), password=PASSWORD, client=HOME)
    with pytest.raises(NotFound):
        await site.sign_in.sign_out(await confirmed(site, "ada"), "0" * 32)
