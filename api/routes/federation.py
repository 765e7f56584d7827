"""`/auth/…`: signing in with an account elsewhere, in a browser; connecting one, confirming with one.

A page of ours never sends a form to a provider (our `form-action` forbids it): what begins with a
form ends with a link to press. What a provider sends back changes nothing without the cookie of the
browser that began.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from api import cookies
from api.routes import account
from api.service import service_of
from engine.domain import Principal
from engine.errors import EngineError, NotFound, StepUpRequired
from engine.people.federation.federation import (
    LIFE,
    Federation,
    ProviderAnswer,
    Purpose,
    SignInBegun,
    SignInFinished,
    cookie_of,
)
from engine.search.links import id_of

VALUE_MAX = 4096  # characters of what a provider sends back


async def start(request: Request) -> Response:
    """Send the browser to the provider."""
    return_to = cookies.own_path(request.query_params.get("return_to", "/"))
    where = request.path_params
    try:
        begun = await _federation(request).begin(
            where["tenant"], where["provider"], cookies.client_of(request), return_to=return_to
        )
    except EngineError as error:
        return await account.sign_in_page(request, error, return_to=return_to)
    response = RedirectResponse(begun.url, status_code=303)
    _keep(response, request, begun)
    return response


async def callback(request: Request) -> Response:
    """Take what the provider sent back, and go on to where the person was going."""
    where, given = request.path_params, request.query_params
    state = given.get("state", "")[:VALUE_MAX]
    name = cookie_of(state)
    answer = ProviderAnswer(
        state=state,
        code=given.get("code", "")[:VALUE_MAX],
        issuer=given.get("iss"),
        error=given.get("error", "")[:VALUE_MAX],
        browser=cookies.attempt_cookie(request, name),
    )
    try:
        finished = await _federation(request).finish(
            where["tenant"], where["provider"], answer, cookies.client_of(request)
        )
    except EngineError as error:
        return await account.sign_in_page(request, error, return_to="/")
    response = _onward(request, finished)
    cookies.clear_attempt(response, request, name)
    return response


async def begin_connect(request: Request) -> Response:
    """The link that connects an account at a provider with who is signed in."""
    return await _leave(request, "connect", "/account")


async def begin_confirm(request: Request) -> Response:
    """The link that confirms who is signed in, by their provider."""
    return await _leave(request, "confirm", "/account")


async def disconnect(request: Request) -> Response:
    """Forget an account that the principal signs in with."""
    principal, form = await account.changing(request)
    try:
        await _federation(request).disconnect(principal, account.field_of(form, "account_id"))
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await account.account_page(request, principal, error)
    return await account.account_page(request, principal, done="The account is disconnected.")


async def _leave(request: Request, purpose: Purpose, fallback: str) -> Response:
    principal, form = await account.changing(request)
    return_to = cookies.own_path(account.field_of(form, "return_to") or fallback)
    try:
        begun, name = await _begun(request, principal, purpose, return_to)
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await account.account_page(request, principal, error)
    response = account.page("leave.html", provider=name, url=begun.url)
    _keep(response, request, begun)
    return response


async def _begun(
    request: Request, principal: Principal, purpose: Purpose, return_to: str
) -> tuple[SignInBegun, str]:
    federation, key = _federation(request), request.path_params["provider"]
    tenant = await federation.tenant_key(principal)
    ways = await service_of(request).engine.people.providers.buttons(tenant)
    name = next((way.name for way in ways if way.key == key), "")
    if not name:
        raise NotFound("No such way to sign in.")
    client = cookies.client_of(request)
    begun = await federation.begin(
        tenant, key, client, return_to=return_to, purpose=purpose, principal=principal
    )
    return begun, name


def _onward(request: Request, finished: SignInFinished) -> Response:
    to = finished.return_to
    if finished.identity_id:
        # Known to the bots alone: what they may read opens, and nothing else is theirs here.
        id_ = id_of(to)
        if not id_:
            raise NotFound(
                "Open a source from the chat: this account reads, and has no pages here."
            )
        search = service_of(request).engine.search
        to = f"/v/{search.sign_link_for_account(finished.tenant_id, finished.identity_id, id_)}"
    response = RedirectResponse(to, status_code=303)
    if finished.signed_in is not None:
        cookies.set_signed_in(response, request, finished.signed_in)
    return response


def _keep(response: Response, request: Request, begun: SignInBegun) -> None:
    cookies.set_attempt(response, request, begun.cookie, begun.secret, int(LIFE.total_seconds()))


def _federation(request: Request) -> Federation:
    return service_of(request).engine.people.federation


ROUTES = (
    Route("/account/accounts/disconnect", disconnect, methods=["POST"]),
    Route("/account/accounts/{provider}", begin_connect, methods=["POST"]),
    Route("/account/confirm/{provider}", begin_confirm, methods=["POST"]),
    Route("/auth/{tenant}/{provider}/start", start, methods=["GET"]),
    Route("/auth/{tenant}/{provider}/callback", callback, methods=["GET"]),
)
