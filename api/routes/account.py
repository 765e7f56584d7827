"""The pages of signing in: sign in and out, the account, and what a one-time link opens.

They work without scripts. A one-time link carries its secret after the `#`, which no server sees
and no log keeps: `link.js` moves it into the form's field. Opening the page changes nothing, so that
programs that look into mail use no link up.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api import cookies
from api.problems import problem_of
from api.service import Service, service_of
from api.templates import render_page
from engine.domain import Principal
from engine.errors import EngineError, StepUpRequired, Unauthenticated
from engine.people.federation.registry import SignInWay
from engine.people.passkeys import PasskeyInfo
from engine.people.sign_in import SignIn

FIELD_MAX = 8192  # bytes of a form's field


async def show_sign_in(request: Request) -> Response:
    """The form, or on to where a signed-in person wanted to go."""
    return_to = cookies.own_path(request.query_params.get("return_to", "/"))
    if await service_of(request).doorkeeper.signed_in(request):
        return RedirectResponse(return_to, status_code=303)
    return await sign_in_page(request, return_to=return_to)


async def sign_in(request: Request) -> Response:
    """A new session in this browser, whatever cookie came with the request."""
    cookies.require_origin(request)
    form = await form_of(request)
    return_to, email = cookies.own_path(field_of(form, "return_to") or "/"), field_of(form, "email")
    try:
        signed_in = await _signing(request).with_password(
            email,
            field_of(form, "password"),
            kind="browser",
            client=cookies.client_of(request),
            code=field_of(form, "code"),
        )
    except EngineError as error:
        return await sign_in_page(request, error, return_to=return_to, email=email)
    response = RedirectResponse(return_to, status_code=303)
    cookies.set_signed_in(response, request, signed_in)
    return response


async def sign_out(request: Request) -> Response:
    """End this browser's session, or all of the account's."""
    principal, form = await changing(request)
    if field_of(form, "everywhere"):
        await _signing(request).sign_out_everywhere(principal)
    else:
        await _signing(request).sign_out(principal)
    response = RedirectResponse("/sign-in", status_code=303)
    cookies.clear_session(response, request)
    return response


async def show_account(request: Request) -> Response:
    """The account: its sessions and its password."""
    return await account_page(request, await _signed_in(request))


async def end_session(request: Request) -> Response:
    """End another session of the account."""
    principal, form = await changing(request)
    await _signing(request).sign_out(principal, field_of(form, "session_id"))
    return RedirectResponse("/account", status_code=303)


async def change_password(request: Request) -> Response:
    """Set another password; the account's other sessions end."""
    principal, form = await changing(request)
    try:
        await _signing(request).change_password(
            principal,
            field_of(form, "current_password"),
            field_of(form, "new_password"),
            cookies.client_of(request),
        )
    except EngineError as error:
        return await account_page(request, principal, error)
    return await account_page(request, principal, done="Your password is changed.")


async def show_confirm(request: Request) -> Response:
    """The form that confirms who is signed in, before what is dangerous."""
    principal = await _signed_in(request)
    return_to = cookies.own_path(request.query_params.get("return_to", "/account"))
    return await confirm_page(request, principal, return_to)


async def confirm(request: Request) -> Response:
    """Confirm who is signed in: ten minutes of admin verbs, and another cookie."""
    principal, form = await changing(request)
    return_to = cookies.own_path(field_of(form, "return_to") or "/account")
    try:
        confirmed = await _signing(request).step_up(
            principal,
            password=field_of(form, "password"),
            code=field_of(form, "code"),
            client=cookies.client_of(request),
        )
    except EngineError as error:
        return await confirm_page(request, principal, return_to, error)
    response = RedirectResponse(return_to, status_code=303)
    cookies.set_signed_in(response, request, confirmed)
    return response


async def begin_app(request: Request) -> Response:
    """The secret of a new authenticator app, and the field for its first code."""
    principal, _ = await changing(request)
    try:
        secret, url = await _signing(request).begin_app(principal)
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await account_page(request, principal, error)
    csrf = cookies.csrf_token(service_of(request).engine.secrets, principal)
    return page("app.html", secret=secret, url=url, csrf=csrf, codes=())


async def confirm_app(request: Request) -> Response:
    """Take the app's first code; shows the recovery codes, this once."""
    principal, form = await changing(request)
    try:
        codes = await _signing(request).confirm_app(principal, field_of(form, "code"))
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await account_page(request, principal, error)
    return page("app.html", secret="", url="", codes=codes)


async def remove_app(request: Request) -> Response:
    """Forget the authenticator app."""
    principal, _ = await changing(request)
    try:
        await _signing(request).remove_app(principal)
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    return await account_page(request, principal, done="Your authenticator app is removed.")


async def show_welcome(request: Request) -> Response:
    """The first owner's form: an address and a password."""
    del request
    return page("welcome.html", email="", person="", link="")


async def welcome(request: Request) -> Response:
    """Make the first owner's account usable, and sign them in."""
    cookies.require_origin(request)
    form = await form_of(request)
    email, name = field_of(form, "email"), field_of(form, "name")
    try:
        signed_in = await _signing(request).claim_owner(
            field_of(form, "link"),
            email=email,
            name=name,
            password=field_of(form, "password"),
            client=cookies.client_of(request),
        )
    except EngineError as error:
        return _refused(
            "welcome.html", error, email=email, person=name, link=field_of(form, "link")
        )
    response = RedirectResponse("/", status_code=303)
    cookies.set_signed_in(response, request, signed_in)
    return response


async def show_set_password(request: Request) -> Response:
    """The form that a password link opens."""
    del request
    return page("set_password.html", link="")


async def set_password(request: Request) -> Response:
    """Set a password by a one-time link; then it is asked for once."""
    cookies.require_origin(request)
    form = await form_of(request)
    link = field_of(form, "link")
    try:
        email = await _signing(request).set_password(link, field_of(form, "password"))
    except EngineError as error:
        return _refused("set_password.html", error, link=link)
    done = "Your password is set. Sign in with it."
    response = await sign_in_page(request, return_to="/", email=email, done=done)
    cookies.clear_session(response, request)
    return response


async def show_forgotten(request: Request) -> Response:
    """The form for a forgotten password."""
    del request
    return page("forgotten.html", email="")


async def forgotten(request: Request) -> Response:
    """Send a link to set a password, if an account has this address: the page never says."""
    cookies.require_origin(request)
    email = field_of(await form_of(request), "email")
    links = service_of(request).engine.people.mailed_links
    try:
        await links.request_reset(email, cookies.client_of(request))
    except EngineError as error:
        return _refused("forgotten.html", error, email=email)
    done = "If an account has this address, a message with a link is on its way to it."
    return page("forgotten.html", email=email, done=done)


async def show_invitation(request: Request) -> Response:
    """The form that an invitation opens; it changes nothing until it is sent."""
    return await _invitation(request)


async def accept_invitation(request: Request) -> Response:
    """Join with an invitation: with a new account, or as who is signed in."""
    cookies.require_origin(request)
    form, people = await form_of(request), service_of(request).engine.people
    who = await service_of(request).doorkeeper.signed_in(request)
    if who is not None:
        cookies.require_own_page(
            service_of(request).engine.secrets, who, request, field_of(form, "csrf")
        )
    link, name = field_of(form, "link"), field_of(form, "name")
    try:
        signed_in = await people.invitations.accept(
            link,
            who=who,
            name=name,
            password=field_of(form, "password"),
            kind="browser",
            client=cookies.client_of(request),
        )
    except EngineError as error:
        return await _invitation(request, error, link=link, person=name)
    response = RedirectResponse("/", status_code=303)
    cookies.set_signed_in(response, request, signed_in)
    return response


async def send_confirmation(request: Request) -> Response:
    """Send a link that confirms the account's address."""
    principal, _ = await changing(request)
    links = service_of(request).engine.people.mailed_links
    try:
        email = await links.request_verification(principal, cookies.client_of(request))
    except EngineError as error:
        return await account_page(request, principal, error)
    return await account_page(
        request, principal, done=f"A message with a link is on its way to {email}."
    )


async def show_confirm_address(request: Request) -> Response:
    """The form that a link to confirm an address opens."""
    del request
    return page("confirm_address.html", link="")


async def confirm_address(request: Request) -> Response:
    """Confirm an address by a one-time link."""
    cookies.require_origin(request)
    link = field_of(await form_of(request), "link")
    try:
        email = await service_of(request).engine.people.mailed_links.confirm_address(link)
    except EngineError as error:
        return _refused("confirm_address.html", error, link=link)
    return page("confirm_address.html", link="", done=f"{email} is confirmed as yours.")


async def request_address(request: Request) -> Response:
    """Send a link to the address that the account is to have."""
    principal, form = await changing(request)
    addresses, said = service_of(request).engine.people.addresses, field_of(form, "email")
    try:
        email = await addresses.request(principal, said, cookies.client_of(request))
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await account_page(request, principal, error)
    done = f"A message with a link is on its way to {email}. Until it is opened, nothing changes."
    return await account_page(request, principal, done=done)


async def show_change_address(request: Request) -> Response:
    """The form that a link to change an address opens."""
    del request
    return page("change_address.html", link="")


async def change_address(request: Request) -> Response:
    """Change an address by a one-time link; the account's other sessions end."""
    cookies.require_origin(request)
    link = field_of(await form_of(request), "link")
    who = await service_of(request).doorkeeper.signed_in(request)
    try:
        email = await service_of(request).engine.people.addresses.confirm(link, who)
    except EngineError as error:
        return _refused("change_address.html", error, link=link)
    done = f"You sign in with {email} from now on."
    return page("change_address.html", link="", done=done)


async def _invitation(
    request: Request, error: EngineError | None = None, *, link: str = "", person: str = ""
) -> Response:
    who = await service_of(request).doorkeeper.signed_in(request)
    csrf = "" if who is None else cookies.csrf_token(service_of(request).engine.secrets, who)
    values: dict[str, Any] = {"who": who, "csrf": csrf, "link": link, "person": person}
    if error is not None:
        return _refused("invitation.html", error, **values)
    return page("invitation.html", **values)


async def account_page(
    request: Request, principal: Principal, error: EngineError | None = None, *, done: str = ""
) -> Response:
    """The account of who is signed in, and what came of what they did there."""
    service = service_of(request)
    values: dict[str, Any] = {
        "principal": principal,
        "sessions": await _signing(request).list_sessions(principal),
        "has_app": await _signing(request).has_app(principal),
        "passkeys": await _own_passkeys(request, principal),
        "email": await service.engine.people.addresses.current(principal),
        "can_change_email": service.engine.people.mailed_links.can_send,
        "accounts": await service.engine.people.federation.connected(principal),
        "ways": await _own_ways(service, principal),
        "unconfirmed": await _unconfirmed(service, principal),
        "csrf": cookies.csrf_token(service.engine.secrets, principal),
    }
    if error is not None:
        return _refused("account.html", error, **values)
    return page("account.html", done=done, **values)


async def _own_passkeys(request: Request, principal: Principal) -> list[PasskeyInfo] | None:
    """The principal's passkeys; None where this page can have none."""
    passkeys = service_of(request).engine.people.passkeys
    if not passkeys.is_usable(str(request.base_url)):
        return None
    return await passkeys.list_own(principal)


async def _own_ways(service: Service, principal: Principal) -> list[SignInWay]:
    people = service.engine.people
    return await people.providers.buttons(await people.federation.tenant_key(principal))


async def _unconfirmed(service: Service, principal: Principal) -> str:
    """The account's address, where a link could confirm it."""
    if not service.engine.people.mailed_links.can_send:
        return ""
    return await service.engine.people.mailed_links.unconfirmed(principal)


async def confirm_page(
    request: Request, principal: Principal, return_to: str, error: EngineError | None = None
) -> Response:
    """The form that confirms who is signed in, and what came of it."""
    values: dict[str, Any] = {
        "return_to": return_to,
        "has_app": await _signing(request).has_app(principal),
        "has_passkey": bool(await _own_passkeys(request, principal)),
        "ways": await service_of(request).engine.people.federation.ways_to_confirm(principal),
        "csrf": cookies.csrf_token(service_of(request).engine.secrets, principal),
    }
    if error is not None:
        return _refused("confirm.html", error, **values)
    return page("confirm.html", **values)


async def _signed_in(request: Request) -> Principal:
    found = await service_of(request).doorkeeper.signed_in(request)
    if found is None:
        raise Unauthenticated("Sign in to see your account.")
    return found


async def changing(request: Request) -> tuple[Principal, FormData]:
    """Who is signed in and what they sent, from a page of ours."""
    principal, form = await _signed_in(request), await form_of(request)
    service: Service = service_of(request)
    cookies.require_own_page(service.engine.secrets, principal, request, field_of(form, "csrf"))
    return principal, form


async def form_of(request: Request) -> FormData:
    """The fields of a form, without files."""
    async with request.form(max_files=0, max_fields=10, max_part_size=FIELD_MAX) as form:
        return form


def field_of(form: FormData, name: str) -> str:
    """A field of a form, cut to what any field may be long; empty where it is missing."""
    value = form.get(name, "")
    return "" if isinstance(value, UploadFile) else value[:FIELD_MAX]


async def sign_in_page(
    request: Request,
    error: EngineError | None = None,
    *,
    return_to: str,
    email: str = "",
    done: str = "",
) -> Response:
    """The form, with every way to sign in to the tenant that the address names, or the first."""
    people = service_of(request).engine.people
    tenant = request.query_params.get("tenant", "") or request.path_params.get("tenant", "")
    values: dict[str, Any] = {
        "return_to": return_to,
        "email": email,
        "can_reset": people.mailed_links.can_send,
        "ways": await people.providers.buttons(tenant),
        "takes_passkeys": people.passkeys.is_usable(str(request.base_url)),
        "quoted": quote(return_to, safe="/"),
    }
    if error is not None:
        return _refused("sign_in.html", error, **values)
    return page("sign_in.html", done=done, **values)


def _signing(request: Request) -> SignIn:
    return service_of(request).engine.people.sign_in


def _refused(template: str, error: EngineError, **values: object) -> Response:
    problem = problem_of(error)
    response = page(template, status_code=problem.status, problem=problem, **values)
    response.headers.update(dict(problem.headers))
    return response


def page(template: str, *, status_code: int = 200, **values: object) -> Response:
    """A page of an account, which programs don't list and which lets browsers say where it is."""
    values = {"problem": None, "done": "", "csrf": ""} | values
    response = render_page(template, status_code=status_code, **values)
    # Without a referrer, browsers don't say in `Origin` that a form was ours.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


ROUTES = (
    Route("/account", show_account, methods=["GET"]),
    Route("/account/app", begin_app, methods=["POST"]),
    Route("/account/app/confirm", confirm_app, methods=["POST"]),
    Route("/account/app/remove", remove_app, methods=["POST"]),
    Route("/account/address", send_confirmation, methods=["POST"]),
    Route("/account/email", request_address, methods=["POST"]),
    Route("/change-address", show_change_address, methods=["GET"]),
    Route("/change-address", change_address, methods=["POST"]),
    Route("/account/confirm", show_confirm, methods=["GET"]),
    Route("/account/confirm", confirm, methods=["POST"]),
    Route("/account/password", change_password, methods=["POST"]),
    Route("/account/sessions", end_session, methods=["POST"]),
    Route("/confirm-address", show_confirm_address, methods=["GET"]),
    Route("/confirm-address", confirm_address, methods=["POST"]),
    Route("/forgotten-password", show_forgotten, methods=["GET"]),
    Route("/forgotten-password", forgotten, methods=["POST"]),
    Route("/invitation", show_invitation, methods=["GET"]),
    Route("/invitation", accept_invitation, methods=["POST"]),
    Route("/set-password", show_set_password, methods=["GET"]),
    Route("/set-password", set_password, methods=["POST"]),
    Route("/sign-in", show_sign_in, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/welcome", show_welcome, methods=["GET"]),
    Route("/welcome", welcome, methods=["POST"]),
)
