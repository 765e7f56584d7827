"""Passkeys: `/api/v1/user/passkeys` for scripts, and the forms of the account and sign-in pages.

A page's script asks for a challenge, lets the browser answer it and sends the page's form with the
answer, so that a session's cookie is set by a form as always.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from api import cookies
from api.operations import returns
from api.replies import PasskeyOptionsReply, PasskeysReply, SignedInReply
from api.routes.account import account_page, changing, confirm_page, field_of, form_of, sign_in_page
from api.routes.user import tokens_of
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine.errors import EngineError, StepUpRequired
from engine.people.passkeys import PasskeyInfo, Passkeys

Credential = dict[str, Any]


class NewPasskeyBody(Body):
    """`POST /api/v1/user/passkeys`."""

    credential: Credential
    name: Annotated[str, Field(max_length=200)] = ""


class PasskeyNameBody(Body):
    """`PATCH /api/v1/user/passkeys/{id}`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class PasskeySignInBody(Body):
    """`POST /api/v1/user/login/passkey`."""

    credential: Credential
    tenant: Annotated[str, Field(max_length=40)] = ""


class PasskeyStepUpBody(Body):
    """`POST /api/v1/user/step_up/passkey`."""

    credential: Credential


@returns(PasskeysReply)
async def index(request: Request) -> Response:
    """The caller's passkeys."""
    found = await _passkeys(request).list_own(await principal_of(request))
    return JSONResponse({"passkeys": [_shown(item) for item in found]})


@returns(PasskeyOptionsReply)
async def begin_adding(request: Request) -> Response:
    """What `navigator.credentials.create` takes."""
    principal = await principal_of(request)
    options = await _passkeys(request).begin_adding(principal, asked_at(request))
    return JSONResponse({"options": options})


@returns(PasskeyInfo, status=201)
async def add(request: Request) -> Response:
    """Keep a passkey that the browser has made."""
    principal = await principal_of(request)
    body = await read_body(request, NewPasskeyBody)
    made = await _passkeys(request).add(
        principal, asked_at(request), body.credential, name=body.name
    )
    return JSONResponse(_shown(made), status_code=201)


@returns(PasskeyInfo)
async def rename(request: Request) -> Response:
    """Give one of the caller's passkeys another name."""
    principal = await principal_of(request)
    body = await read_body(request, PasskeyNameBody)
    renamed = await _passkeys(request).rename(principal, request.path_params["id"], body.name)
    return JSONResponse(_shown(renamed))


@returns(PasskeyInfo)
async def delete(request: Request) -> Response:
    """Forget one of the caller's passkeys."""
    principal = await principal_of(request)
    gone = await _passkeys(request).delete(principal, request.path_params["id"])
    return JSONResponse(_shown(gone))


@returns(PasskeyOptionsReply)
async def begin_sign_in(request: Request) -> Response:
    """What `navigator.credentials.get` takes to sign in, for any passkey."""
    options = await _passkeys(request).begin_sign_in(asked_at(request), cookies.client_of(request))
    return JSONResponse({"options": options})


@returns(SignedInReply)
async def sign_in(request: Request) -> Response:
    """An access and a refresh token for whoever holds a passkey."""
    body = await read_body(request, PasskeySignInBody)
    signed_in = await _passkeys(request).sign_in(
        asked_at(request),
        body.credential,
        kind="api",
        client=cookies.client_of(request),
        tenant=body.tenant,
    )
    return tokens_of(signed_in)


@returns(PasskeyOptionsReply)
async def begin_confirming(request: Request) -> Response:
    """What `navigator.credentials.get` takes to confirm who the caller is."""
    principal = await principal_of(request)
    options = await _passkeys(request).begin_confirming(principal, asked_at(request))
    return JSONResponse({"options": options})


@returns(SignedInReply)
async def confirm(request: Request) -> Response:
    """An access token for admin verbs, by a passkey."""
    principal = await principal_of(request)
    body = await read_body(request, PasskeyStepUpBody)
    confirmed = await _passkeys(request).confirm(principal, asked_at(request), body.credential)
    response = tokens_of(confirmed)
    if confirmed.cookie:  # the page that asked is a browser's
        cookies.set_signed_in(response, request, confirmed)
    return response


# Forms


async def sign_in_form(request: Request) -> Response:
    """A new session in this browser, by a passkey."""
    cookies.require_origin(request)
    form = await form_of(request)
    return_to = cookies.own_path(field_of(form, "return_to") or "/")
    try:
        signed_in = await _passkeys(request).sign_in(
            asked_at(request),
            field_of(form, "credential"),
            kind="browser",
            client=cookies.client_of(request),
        )
    except EngineError as error:
        return await sign_in_page(request, error, return_to=return_to)
    response = RedirectResponse(return_to, status_code=303)
    cookies.set_signed_in(response, request, signed_in)
    return response


async def confirm_form(request: Request) -> Response:
    """Confirm who is signed in with a passkey."""
    principal, form = await changing(request)
    return_to = cookies.own_path(field_of(form, "return_to") or "/account")
    try:
        confirmed = await _passkeys(request).confirm(
            principal, asked_at(request), field_of(form, "credential")
        )
    except EngineError as error:
        return await confirm_page(request, principal, return_to, error)
    response = RedirectResponse(return_to, status_code=303)
    cookies.set_signed_in(response, request, confirmed)
    return response


async def change_form(request: Request) -> Response:
    """Add, rename or delete a passkey on the account page."""
    principal, form = await changing(request)
    passkeys, what, id_ = _passkeys(request), field_of(form, "do"), field_of(form, "passkey_id")
    name = field_of(form, "name")
    try:
        if what == "delete":
            gone = await passkeys.delete(principal, id_)
            done = f"The passkey “{gone.name}” is deleted."
        elif what == "rename":
            renamed = await passkeys.rename(principal, id_, name)
            done = f"The passkey is called “{renamed.name}” now."
        else:
            said = field_of(form, "credential")
            made = await passkeys.add(principal, asked_at(request), said, name=name)
            done = f"The passkey “{made.name}” is added: you can sign in with it."
    except StepUpRequired:
        return RedirectResponse("/account/confirm", status_code=303)
    except EngineError as error:
        return await account_page(request, principal, error)
    return await account_page(request, principal, done=done)


def asked_at(request: Request) -> str:
    """The base URL that this request was sent to; its Host was checked."""
    return str(request.base_url)


def _passkeys(request: Request) -> Passkeys:
    return service_of(request).engine.people.passkeys


def _shown(passkey: PasskeyInfo) -> dict[str, Any]:
    used = passkey.last_used_at
    return {
        "id": passkey.id,
        "name": passkey.name,
        "is_synced": passkey.is_synced,
        "created_at": passkey.created_at.isoformat(),
        "last_used_at": None if used is None else used.isoformat(),
    }


ROUTES = (
    Route("/api/v1/user/passkeys", index, methods=["GET"]),
    Route("/api/v1/user/passkeys", add, methods=["POST"]),
    Route("/api/v1/user/passkeys/options", begin_adding, methods=["POST"]),
    Route("/api/v1/user/passkeys/{id}", rename, methods=["PATCH"]),
    Route("/api/v1/user/passkeys/{id}", delete, methods=["DELETE"]),
    Route("/api/v1/user/login/passkey", sign_in, methods=["POST"]),
    Route("/api/v1/user/login/passkey/options", begin_sign_in, methods=["POST"]),
    Route("/api/v1/user/step_up/passkey", confirm, methods=["POST"]),
    Route("/api/v1/user/step_up/passkey/options", begin_confirming, methods=["POST"]),
    Route("/sign-in/passkey", sign_in_form, methods=["POST"]),
    Route("/account/passkeys/confirm", confirm_form, methods=["POST"]),
    Route("/account/passkeys", change_form, methods=["POST"]),
)
