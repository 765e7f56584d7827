"""`/api/v1/user`: sign in from a program, stay signed in, sign out, change the password."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field, SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.cookies import client_of, set_signed_in
from api.operations import returns
from api.replies import (
    AcceptedReply,
    AddressReply,
    EndedReply,
    NewAppReply,
    PasswordReply,
    RecoveryCodesReply,
    RemovedReply,
    SessionsReply,
    SignedInReply,
    UserReply,
)
from api.schemas import Body, read_body
from api.service import principal_of, service_of
from engine import clock
from engine.people.sessions import SignedIn

Code = Annotated[SecretStr, Field(max_length=64)]
Link = Annotated[SecretStr, Field(min_length=1, max_length=200)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=1024)]


class SignInBody(Body):
    """`POST /api/v1/user/login`."""

    email: Annotated[str, Field(min_length=1, max_length=320)]
    password: Password
    tenant: Annotated[str, Field(max_length=40)] = ""
    code: Code = SecretStr("")


class StepUpBody(Body):
    """`POST /api/v1/user/step_up`."""

    password: Annotated[SecretStr, Field(max_length=1024)] = SecretStr("")
    code: Code = SecretStr("")


class AppBody(Body):
    """`PUT /api/v1/user/app`."""

    code: Code


class RefreshBody(Body):
    """`POST /api/v1/user/refresh`."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


class SignOutBody(Body):
    """`POST /api/v1/user/logout`."""

    everywhere: bool = False


class PasswordBody(Body):
    """`PUT /api/v1/user/password`."""

    current_password: Password
    new_password: Password


class ResetRequestBody(Body):
    """`POST /api/v1/user/password_reset`."""

    email: Annotated[str, Field(min_length=1, max_length=320)]


class ResetBody(Body):
    """`PUT /api/v1/user/password_reset`."""

    link: Link
    new_password: Password


class AddressBody(Body):
    """`POST /api/v1/user/email/change`."""

    email: Annotated[str, Field(min_length=3, max_length=320)]


class ConfirmationBody(Body):
    """`PUT /api/v1/user/email` and `/email/change`."""

    link: Link


@returns(SignedInReply)
async def sign_in(request: Request) -> Response:
    """An access token for ten minutes and a refresh token for the next ones."""
    body = await read_body(request, SignInBody)
    signed_in = await service_of(request).engine.people.sign_in.with_password(
        body.email,
        body.password.get_secret_value(),
        kind="api",
        client=client_of(request),
        tenant=body.tenant,
        code=body.code.get_secret_value(),
    )
    return tokens_of(signed_in)


@returns(SignedInReply)
async def refresh(request: Request) -> Response:
    """The next access and refresh token; the one that was sent is used up."""
    body = await read_body(request, RefreshBody)
    people = service_of(request).engine.people
    return tokens_of(await people.sign_in.refresh(body.refresh_token.get_secret_value()))


@returns(SignedInReply)
async def step_up(request: Request) -> Response:
    """An access token for admin verbs, for ten minutes."""
    principal = await principal_of(request)
    body = await read_body(request, StepUpBody)
    confirmed = await service_of(request).engine.people.sign_in.step_up(
        principal,
        password=body.password.get_secret_value(),
        code=body.code.get_secret_value(),
        client=client_of(request),
    )
    response = tokens_of(confirmed)
    if confirmed.cookie:  # the page that asked is a browser's
        set_signed_in(response, request, confirmed)
    return response


@returns(NewAppReply, status=201)
async def begin_app(request: Request) -> Response:
    """The secret of a new authenticator app."""
    principal = await principal_of(request)
    secret, url = await service_of(request).engine.people.sign_in.begin_app(principal)
    return JSONResponse({"secret": secret, "url": url}, status_code=201)


@returns(RecoveryCodesReply)
async def confirm_app(request: Request) -> Response:
    """Take the app's first code; the recovery codes, shown this once."""
    principal = await principal_of(request)
    body = await read_body(request, AppBody)
    signing = service_of(request).engine.people.sign_in
    codes = await signing.confirm_app(principal, body.code.get_secret_value())
    return JSONResponse({"recovery_codes": codes})


@returns(RemovedReply)
async def remove_app(request: Request) -> Response:
    """Forget the authenticator app."""
    principal = await principal_of(request)
    await service_of(request).engine.people.sign_in.remove_app(principal)
    return JSONResponse({"removed": True})


@returns(EndedReply)
async def sign_out(request: Request) -> Response:
    """End this session, or all of the caller's."""
    principal = await principal_of(request)
    body = await read_body(request, SignOutBody)
    signing = service_of(request).engine.people.sign_in
    if body.everywhere:
        return JSONResponse({"ended": await signing.sign_out_everywhere(principal)})
    await signing.sign_out(principal)
    return JSONResponse({"ended": 1})


@returns(UserReply)
async def show(request: Request) -> Response:
    """Who the caller is, and what they may do."""
    principal = await principal_of(request)
    return JSONResponse(
        {
            "id": principal.user_id,
            "name": principal.name,
            "role": str(principal.role),
            "tenant_id": principal.tenant_id,
            "scopes": sorted(principal.scopes),
            "session_id": principal.session_id,
            "api_token_id": principal.api_token_id,
        }
    )


@returns(SessionsReply)
async def sessions(request: Request) -> Response:
    """The caller's own sessions."""
    principal = await principal_of(request)
    found = await service_of(request).engine.people.sign_in.list_sessions(principal)
    times = ("signed_in_at", "seen_at", "expires_at")
    shown = [
        asdict(item) | {name: getattr(item, name).isoformat() for name in times} for item in found
    ]
    return JSONResponse({"sessions": shown})


@returns(EndedReply)
async def end_session(request: Request) -> Response:
    """End one of the caller's sessions."""
    principal = await principal_of(request)
    signing = service_of(request).engine.people.sign_in
    await signing.sign_out(principal, request.path_params["id"])
    return JSONResponse({"ended": 1})


@returns(PasswordReply)
async def change_password(request: Request) -> Response:
    """Set another password; the account's other sessions end."""
    principal = await principal_of(request)
    body = await read_body(request, PasswordBody)
    ended = await service_of(request).engine.people.sign_in.change_password(
        principal,
        body.current_password.get_secret_value(),
        body.new_password.get_secret_value(),
        client_of(request),
    )
    return JSONResponse({"changed": True, "ended": ended})


@returns(AcceptedReply, status=202)
async def request_reset(request: Request) -> Response:
    """Send a link to set a password, if an account has this address: the answer never says."""
    body = await read_body(request, ResetRequestBody)
    links = service_of(request).engine.people.mailed_links
    await links.request_reset(body.email, client_of(request))
    return JSONResponse({"accepted": True}, status_code=202)


@returns(AddressReply)
async def reset_password(request: Request) -> Response:
    """Set a password with a link; all sessions of the account end."""
    body = await read_body(request, ResetBody)
    email = await service_of(request).engine.people.sign_in.set_password(
        body.link.get_secret_value(), body.new_password.get_secret_value()
    )
    return JSONResponse({"email": email})


@returns(AddressReply, status=202)
async def request_confirmation(request: Request) -> Response:
    """Send a link that confirms the caller's address."""
    principal = await principal_of(request)
    links = service_of(request).engine.people.mailed_links
    email = await links.request_verification(principal, client_of(request))
    return JSONResponse({"email": email}, status_code=202)


@returns(AddressReply, status=202)
async def request_address(request: Request) -> Response:
    """Send a link to the address that the caller's account is to have."""
    principal = await principal_of(request)
    body = await read_body(request, AddressBody)
    addresses = service_of(request).engine.people.addresses
    email = await addresses.request(principal, body.email, client_of(request))
    return JSONResponse({"email": email}, status_code=202)


@returns(AddressReply)
async def change_address(request: Request) -> Response:
    """Change an account's address with a link; its sessions end."""
    body = await read_body(request, ConfirmationBody)
    addresses = service_of(request).engine.people.addresses
    return JSONResponse({"email": await addresses.confirm(body.link.get_secret_value())})


@returns(AddressReply)
async def confirm_address(request: Request) -> Response:
    """Confirm an address with a link."""
    body = await read_body(request, ConfirmationBody)
    links = service_of(request).engine.people.mailed_links
    email = await links.confirm_address(body.link.get_secret_value())
    return JSONResponse({"email": email})


def tokens_of(signed_in: SignedIn) -> Response:
    """A new session's secrets, shown this once."""
    now, access_until = clock.now(), signed_in.access_expires_at or clock.now()
    return JSONResponse(
        {
            "access_token": signed_in.access_token,
            "token_type": "Bearer",
            "expires_in": round((access_until - now).total_seconds()),
            "refresh_token": signed_in.refresh_token,
            "refresh_expires_in": int((signed_in.expires_at - now).total_seconds()),
            "session_id": signed_in.session_id,
            "user_id": signed_in.user_id,
            "tenant_id": signed_in.tenant_id,
        }
    )


ROUTES = (
    Route("/api/v1/user", show, methods=["GET"]),
    Route("/api/v1/user/app", begin_app, methods=["POST"]),
    Route("/api/v1/user/app", confirm_app, methods=["PUT"]),
    Route("/api/v1/user/app", remove_app, methods=["DELETE"]),
    Route("/api/v1/user/email", request_confirmation, methods=["POST"]),
    Route("/api/v1/user/email", confirm_address, methods=["PUT"]),
    Route("/api/v1/user/email/change", request_address, methods=["POST"]),
    Route("/api/v1/user/email/change", change_address, methods=["PUT"]),
    Route("/api/v1/user/login", sign_in, methods=["POST"]),
    Route("/api/v1/user/logout", sign_out, methods=["POST"]),
    Route("/api/v1/user/password", change_password, methods=["PUT"]),
    Route("/api/v1/user/password_reset", request_reset, methods=["POST"]),
    Route("/api/v1/user/password_reset", reset_password, methods=["PUT"]),
    Route("/api/v1/user/refresh", refresh, methods=["POST"]),
    Route("/api/v1/user/step_up", step_up, methods=["POST"]),
    Route("/api/v1/user/sessions", sessions, methods=["GET"]),
    Route("/api/v1/user/sessions/{id}", end_session, methods=["DELETE"]),
)
