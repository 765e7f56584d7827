"""`/console/people`: who belongs to the tenant, in which role and in which groups."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import Visit, field, is_confirmation_needed, sent, visit
from api.service import base_url
from engine.access.gate import can_grant_role
from engine.domain import Role
from engine.errors import EngineError, InvalidInput

PEOPLE = "/console/people"


async def index(request: Request) -> Response:
    """Members and groups."""
    return await _index(await visit(request))


async def _index(here: Visit, error: EngineError | None = None, *, link: str = "") -> Response:
    people, principal = here.engine.people, here.principal
    groups = await people.list_groups(principal)
    return here.page(
        "people.html",
        error=error,
        members=await people.list_members(principal),
        groups=[
            (group, await people.list_group_members(principal, group.name)) for group in groups
        ],
        roles=[role for role in Role if can_grant_role(principal, role)],
        link=link,
    )


async def add(request: Request) -> Response:
    """A new member; a link with which they set a password is shown once."""
    here, form = await sent(request)
    people = here.engine.people
    try:
        member = await people.add_member(
            here.principal,
            field(form, "email"),
            name=field(form, "name"),
            role=_role(field(form, "role")),
        )
        secret = await people.sign_in.make_password_link(here.principal, member.user_id)
    except EngineError as error:
        return await _refused(here, error)
    link = f"{base_url(here.service.settings, request)}/set-password#{secret}"
    return await _index(here, link=link)


async def change(request: Request) -> Response:
    """Another role, deactivated, let in again, removed, or a link for a new password."""
    here, form = await sent(request)
    people, member, what = here.engine.people, request.path_params["member"], field(form, "do")
    try:
        if what == "role":
            changed = await people.change_member(
                here.principal, member, role=_role(field(form, "role"))
            )
            said = f"{changed.name} is {changed.role} now."
        elif what in {"activate", "deactivate"}:
            changed = await people.change_member(here.principal, member, active=what == "activate")
            said = f"{changed.name} {'may sign in again' if changed.active else 'is out'}."
        elif what == "remove":
            gone = await people.remove_member(here.principal, member)
            said = f"{gone.name} is no member any more."
        elif what == "password":
            secret = await people.sign_in.make_password_link(here.principal, member)
            url = f"{base_url(here.service.settings, request)}/set-password#{secret}"
            return await _index(here, link=url)
        else:
            raise InvalidInput("Choose what to do.", field="do")
    except EngineError as error:
        return await _refused(here, error)
    return here.on(PEOPLE, said)


async def change_group(request: Request) -> Response:
    """Create or delete a group; put a member in, or take one out."""
    here, form = await sent(request)
    people, group, what = here.engine.people, field(form, "group"), field(form, "do")
    member = field(form, "member")
    try:
        if what == "create":
            await people.create_group(here.principal, group)
            said = f"{group} is there."
        elif what == "delete":
            await people.delete_group(here.principal, group)
            said = f"{group} is deleted."
        elif what == "add":
            await people.add_to_group(here.principal, group, member)
            said = f"{member} is in {group} now."
        elif what == "remove":
            await people.remove_from_group(here.principal, group, member)
            said = f"Out of {group}."
        else:
            raise InvalidInput("Choose what to do.", field="do")
    except EngineError as error:
        return await _refused(here, error)
    return here.on(PEOPLE, said)


async def _refused(here: Visit, error: EngineError) -> Response:
    return here.to_confirm(PEOPLE) if is_confirmation_needed(error) else await _index(here, error)


def _role(said: str) -> Role:
    if said not in set(Role):
        raise InvalidInput("Choose a role.", field="role")
    return Role(said)


ROUTES = (
    Route(PEOPLE, index, methods=["GET"]),
    Route(PEOPLE, add, methods=["POST"]),
    Route("/console/people/{member}", change, methods=["POST"]),
    Route("/console/groups", change_group, methods=["POST"]),
)
