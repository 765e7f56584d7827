"""`/console/assistants`: the assistants and search apps; one of each, with its settings."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.routes.console.visit import Visit, field, is_confirmation_needed, sent, visit
from api.service import base_url
from engine.access.gate import may
from engine.assistants.assistants import Profiles
from engine.assistants.profiles import PROFILES, parse_value
from engine.assistants.rows import AssistantInfo
from engine.errors import EngineError, InvalidInput, NotFound
from engine.serializers import widget_tag

HELP = {
    "name": "",
    "slug": "what programs call it",
    "description": "for people who choose one",
    "kbs": "names of knowledge bases, separated by commas; empty: all that the asker may read",
    "visible_to": "everyone, group:Sales, user:ada@example.com; empty: only its owner and admins",
    "prompt": "how to answer; the rules that keep answers honest come first",
    "opener": "what it says before the first question",
    "examples": "questions it offers, one a line",
    "model": "such as openai:gpt-4o; empty: the organisation's",
    "temperature": "0 to 2; empty: the model's own",
    "max_tokens": "of an answer; empty: the installation's",
    "empty_answer": "what it says where nothing answers",
    "citations": "on or off: answers show what they rest on",
    "memory_turns": "0 to 6 earlier questions that a follow-up is read with",
    "language": "a code such as de; empty: that of the question",
    "mode": "hybrid, semantic, keyword or adaptive",
    "alpha": "0 to 1: what meaning counts beside words",
    "top_k": "1 to 50 documents that are looked at",
    "confidence_threshold": "0 to 1: what is less sure is not used",
    "recency_days": "days after which age halves what it can take; 0: never",
    "rerank": "on or off",
}
LONG = ("description", "prompt", "opener", "examples", "empty_answer")


def _profiles(here: Visit) -> Profiles:
    kind = here.request.path_params["kind"]
    if kind not in PROFILES:
        raise NotFound("There is no such page.")
    return here.engine.assistants if kind == "assistant" else here.engine.search_apps


def path_of(info: AssistantInfo) -> str:
    """Its page."""
    return f"/console/assistants/{info.kind}/{info.id}"


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def _rows(info: AssistantInfo) -> list[tuple[str, str, str, bool]]:
    """Each setting: its name, its value as it is typed, its help, and whether it is long."""
    shown = info.profile.model_dump()
    joined = {name: ", ".join(shown[name] or ()) for name in ("kbs", "visible_to")}
    joined |= {"examples": "\n".join(shown.get("examples") or ())}
    return [
        (name, joined.get(name, _written(shown[name])), HELP[name], name in LONG)
        for name in HELP
        if name in shown
    ]


async def index(request: Request) -> Response:
    """Those this person may use, and a form for a new one."""
    return await _index(await visit(request))


async def _index(here: Visit, error: EngineError | None = None) -> Response:
    return here.page(
        "assistants.html",
        error=error,
        found=[
            ("assistant", "Assistants", await here.engine.assistants.list_all(here.principal)),
            ("search_app", "Search apps", await here.engine.search_apps.list_all(here.principal)),
        ],
        may_create=may(here.principal, "assistant.create"),
        path_of=path_of,
    )


async def create(request: Request) -> Response:
    """A new one, for all members."""
    here, form = await sent(request)
    values = {"name": field(form, "name"), "description": field(form, "description")}
    try:
        made = await _profiles(here).create(here.principal, values)
    except EngineError as error:
        return await _index(here, error)
    return here.on(path_of(made), f"{made.profile.name} is there. Say how it works.")


async def show(request: Request) -> Response:
    """One, with its settings."""
    here = await visit(request)
    return await _show(here, await _found(here))


async def _found(here: Visit) -> AssistantInfo:
    return await _profiles(here).get(here.principal, here.request.path_params["ref"])


async def _show(here: Visit, info: AssistantInfo, error: EngineError | None = None) -> Response:
    widgets = []
    if info.kind == "assistant" and may(here.principal, "widget.list"):
        base = base_url(here.service.settings, here.request)
        widgets = [
            (item, widget_tag(item.id, base))
            for item in await here.engine.widgets.list_all(here.principal, info.id)
        ]
    return here.page(
        "assistant.html",
        error=error,
        info=info,
        path=path_of(info),
        rows=_rows(info),
        widgets=widgets,
        may_embed=info.kind == "assistant" and may(here.principal, "widget.set"),
    )


def _values(info: AssistantInfo, form: FormData) -> dict[str, Any]:
    """What the form changes: lists that stay as they are keep what this person may not see."""
    given: dict[str, Any] = {}
    for name, before, *_ in _rows(info):
        said = field(form, name).replace("\r\n", "\n")
        if name in form and said != before.strip():
            given[name] = parse_value(PROFILES[info.kind], name, said)
    return given


async def change(request: Request) -> Response:
    """Save its settings, unless somebody did meanwhile."""
    here, form = await sent(request)
    info = await _found(here)
    version = field(form, "version")
    if not version.isdecimal():
        raise InvalidInput("version: send the form of the page.", field="version")
    try:
        changes = _values(info, form)
        changed = await _profiles(here).update(
            here.principal, info.id, changes, version=int(version)
        )
    except EngineError as error:
        return await _show(here, info, error)
    return here.on(path_of(changed), "Saved. The next answer uses it.")


async def embed(request: Request) -> Response:
    """Let pages of other sites show it."""
    here, form = await sent(request)
    info = await _found(here)
    origins = field(form, "origins").replace(",", " ").split()
    try:
        await here.engine.widgets.add(here.principal, info.id, origins, key=field(form, "key"))
    except EngineError as error:
        if is_confirmation_needed(error):
            return here.to_confirm(path_of(info))
        return await _show(here, info, error)
    return here.on(path_of(info), "Put the tag below into those pages.")


async def unembed(request: Request) -> Response:
    """Take a widget away."""
    here, form = await sent(request)
    info = await _found(here)
    try:
        await here.engine.widgets.remove(here.principal, field(form, "widget"))
    except EngineError as error:
        if is_confirmation_needed(error):
            return here.to_confirm(path_of(info))
        return await _show(here, info, error)
    return here.on(path_of(info), "Pages that show it answer nothing more.")


async def delete(request: Request) -> Response:
    """Delete it, once its name was typed."""
    here, form = await sent(request)
    info = await _found(here)
    try:
        if field(form, "name") != info.profile.name:
            raise InvalidInput(f"Type the name, {info.profile.name}, to delete it.", field="name")
        await _profiles(here).remove(here.principal, info.id)
    except EngineError as error:
        return await _show(here, info, error)
    return here.on("/console/assistants", f"{info.profile.name} is deleted.")


ROUTES = (
    Route("/console/assistants", index, methods=["GET"]),
    Route("/console/assistants/{kind}", create, methods=["POST"]),
    Route("/console/assistants/{kind}/{ref}", show, methods=["GET"]),
    Route("/console/assistants/{kind}/{ref}", change, methods=["POST"]),
    Route("/console/assistants/{kind}/{ref}/widgets", embed, methods=["POST"]),
    Route("/console/assistants/{kind}/{ref}/widgets/remove", unembed, methods=["POST"]),
    Route("/console/assistants/{kind}/{ref}/delete", delete, methods=["POST"]),
)
