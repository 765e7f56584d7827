"""The kinds of things that a deployment describes, each compared with what there is.

A kind lists what exists by name, says what differs, and makes it so through the verbs that every door
uses: rights, checks and the audit are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from engine.deployment.changes import Change, Verb, differences
from engine.deployment.comparison import Comparison
from engine.deployment.described import (
    EVERYONE,
    DescribedBase,
    DescribedModel,
    DescribedProvider,
    DescribedSource,
    DescribedWorkflow,
)
from engine.documents.formats import parse_formats
from engine.documents.kb_grants import GrantInfo
from engine.documents.knowledge_bases import KbChunking, KbInfo
from engine.documents.search_settings import KbSearchSettings, checked_settings
from engine.domain import Principal
from engine.errors import FlowError, InvalidInput, Unavailable
from engine.models.catalogue import MODELS
from engine.people.federation.providers import IdentityProviderInfo, NewProvider
from engine.people.tenant_llms import masked
from engine.sources.sources import NewSource
from engine.wording import counted


async def tenants(at: Comparison) -> list[Change]:
    """Organisations that the installation lacks. One that is not named stays, even when pruning."""
    if not at.wanted.tenants:
        return []
    people, principal = at.engine.people, at.principal
    known = {info.key for info in await people.list_tenants(principal)}
    return [
        Change(
            "create",
            "tenant",
            one.key,
            at.later(people.create_tenant, one.key, name=one.name),
        )
        for one in at.wanted.tenants
        if one.key not in known
    ]


async def members(at: Comparison) -> list[Change]:
    """People to add, and roles to change. Whoever applies the file keeps theirs."""
    if not at.wanted.members:
        return []
    people, principal = at.engine.people, at.principal
    known = {(one.email or "").lower(): one for one in await people.list_members(principal)}
    found = []
    for one in at.wanted.members:
        email = one.email.lower()
        has = known.pop(email, None)
        if has is None:
            add = at.later(people.add_member, email, name=one.name, role=one.role)
            found.append(Change("create", "member", email, add, (f"role: {one.role}",)))
        elif has.role != one.role or not has.active:
            change = at.later(people.change_member, has.user_id, role=one.role, active=True)
            said = differences(
                {"role": has.role, "active": has.active}, {"role": one.role, "active": True}
            )
            found.append(Change("change", "member", email, change, said))
    others = [email for email, one in known.items() if email and one.user_id != principal.user_id]
    found.extend(at.left_over("member", others, people.remove_member))
    return found


async def groups(at: Comparison) -> list[Change]:
    """Groups, and who is in them."""
    if not at.wanted.groups:
        return []
    people, principal = at.engine.people, at.principal
    known = {one.name: one for one in await people.list_groups(principal)}
    email_of = {one.user_id: one.email or "" for one in await people.list_members(principal)}
    found = []
    for one in at.wanted.groups:
        has = known.pop(one.name, None)
        if has is None:
            create = at.later(people.create_group, one.name)
            found.append(Change("create", "group", one.name, create))
        if one.members is None:
            continue
        inside: dict[str, str] = {}
        if has is not None:
            listed = await people.list_group_members(principal, has.id)
            inside = {email_of.get(id_, "").lower(): id_ for id_, _ in listed}
        for email in [name.lower() for name in one.members if name.lower() not in inside]:
            add = at.later(people.add_to_group, one.name, email)
            found.append(Change("change", "group", one.name, add, (f"add {email}",)))
        wanted = {name.lower() for name in one.members}
        for email, id_ in inside.items():
            if email not in wanted:
                take = at.later(people.remove_from_group, one.name, id_)
                found.append(Change("change", "group", one.name, take, (f"remove {email or id_}",)))
    found.extend(at.left_over("group", list(known), people.delete_group))
    return found


async def identity_providers(at: Comparison) -> list[Change]:
    """Where people sign in. A changed one is added anew; who signs in by it stays linked."""
    if not at.wanted.identity_providers:
        return []
    providers, principal = at.engine.people.providers, at.principal
    known = {one.key: one for one in await providers.list_all(principal)}
    found = []
    for one in at.wanted.identity_providers:
        has = known.pop(one.key, None)
        said = [] if has is None else _provider_differences(has, one)
        if has is not None and not said:
            continue
        if one.client_secret is not None:
            one.client_secret.read(at.folder)  # a missing one is told before anything is changed
        put = at.later(partial(_put_provider, at), one, is_new=has is None)
        verb: Verb = "create" if has is None else "change"
        found.append(Change(verb, "identity provider", one.key, put, said))
    remove = providers.remove
    found.extend(at.left_over("identity provider", list(known), remove))
    return found


def _provider_differences(has: IdentityProviderInfo, one: DescribedProvider) -> list[str]:
    said = one.model_dump(exclude_unset=True, exclude={"client_secret", "join_as", "key"})
    for name in ("allowed_domains", "allowed_tenants"):
        if name in said:
            said[name] = sorted({item.lower() for item in said[name]})
    if "api_url" in said:
        said["api_url"] = said["api_url"].rstrip("/")
    present = {name: getattr(has, name) for name in said}
    for name in ("allowed_domains", "allowed_tenants"):
        if name in present:
            present[name] = sorted(present[name])
    if "groups" in present:
        present["groups"] = dict(present["groups"])
    if "join_as" in one.model_fields_set:
        present["join_as"], said["join_as"] = has.jit_role, one.join_as
    return differences(present, said)


async def _put_provider(
    at: Comparison, principal: Principal, one: DescribedProvider, *, is_new: bool
) -> None:
    secret = one.client_secret.read(at.folder) if one.client_secret else ""
    plain = one.model_dump(exclude={"client_secret", "join_as"})
    new = NewProvider(**plain, client_secret=secret, jit_role=one.join_as)
    if not is_new:
        await at.engine.people.providers.remove(principal, one.key)
    await at.engine.people.providers.add(principal, new)


async def language_models(at: Comparison) -> list[Change]:
    """Keys of language models, and the model that answers."""
    llms, principal = at.engine.llms, at.principal
    found = []
    if at.wanted.language_models:
        known = {one.name: one for one in await llms.list_keys(principal)}
        for one in at.wanted.language_models:
            has = known.pop(one.name, None)
            key = one.api_key.read(at.folder) if one.api_key else None
            wanted = _model_values(one, key)
            present = (
                {}
                if has is None
                else {"api_key": has.api_key, "base_url": has.base_url, "enabled": has.enabled}
            )
            said = [
                "api_key: another one" if line.startswith("api_key: ") else line
                for line in differences(present, wanted)
            ]
            if has is not None and not said:
                continue
            put = at.later(
                llms.set_key,
                one.name,
                api_key=key,
                base_url=one.base_url or None,
                enabled=one.enabled,
            )
            verb: Verb = "create" if has is None else "change"
            found.append(
                Change(verb, "language model", one.name, put, said if has is not None else ())
            )
        remove = llms.remove_key
        found.extend(at.left_over("language model", list(known), remove))
    default = at.wanted.default_language_model
    if default is not None and default != (present_default := await llms.default_of(principal)):
        choose = at.later(llms.set_default, default)
        said = differences({"model": present_default}, {"model": default})
        found.append(Change("change", "default language model", default or "none", choose, said))
    return found


def _model_values(one: DescribedModel, key: str | None) -> dict[str, Any]:
    wanted: dict[str, Any] = {"enabled": one.enabled}
    if key is not None:
        wanted["api_key"] = masked(key)
    if one.base_url:
        wanted["base_url"] = one.base_url
    return wanted


async def quotas(at: Comparison) -> list[Change]:
    """How much the tenant's admins let it use; bounds of who runs the installation stay apart."""
    if not at.wanted.quotas:
        return []
    kept, principal = at.engine.quotas, at.principal
    known = {
        (one.subject, one.kind): one.amount
        for one in await kept.list_all(principal)
        if not one.by_operator
    }
    email_of = {one.user_id: one.email for one in await at.engine.people.list_members(principal)}
    by_name = {(subject_in_words(key[0], email_of), key[1]): key for key in known}
    found = []
    for one in at.wanted.quotas:
        key = by_name.pop((one.subject, one.kind), (one.subject, one.kind))
        has = known.pop(key, None)
        if has == one.amount:
            continue
        put = at.later(kept.set, one.subject, one.kind, one.amount)
        verb: Verb = "create" if has is None else "change"
        said = differences({"amount": has}, {"amount": one.amount})
        found.append(Change(verb, "quota", f"{one.kind} of {one.subject}", put, said))
    for subject, kind in known:
        remove = partial(_remove_quota, at, subject, kind)
        name = f"{kind} of {subject_in_words(subject, email_of)}"
        found.extend(at.left_over("quota", [name], remove))
    return found


def subject_in_words(subject: str, email_of: Mapping[str, str | None]) -> str:
    """Whom a quota is for, as a file says it."""
    kind, _, id_ = subject.partition(":")
    return f"user:{email_of[id_]}" if kind == "user" and email_of.get(id_) else subject


async def _remove_quota(
    at: Comparison, subject: str, kind: str, principal: Principal, _name: str
) -> None:
    await at.engine.quotas.remove(principal, subject, kind)


async def pipelines(at: Comparison) -> list[Change]:
    """Pipelines of the tenant; templates that ship are not compared."""
    if not at.wanted.pipelines:
        return []
    kept, principal = at.engine.pipelines, at.principal
    known = {one.name: one for one in await kept.list_all(principal) if not one.is_template}
    found = []
    for one in at.wanted.pipelines:
        text = one.text(at.folder)
        has = known.pop(one.name, None)
        if has is not None and _same_graph(has.dsl, text):
            continue
        with _faults_of("pipeline", one.name):
            at.check_pipeline(text)
        save = at.later(kept.save, one.name, text, check=at.check_pipeline, replace=True)
        verb: Verb = "create" if has is None else "change"
        found.append(
            Change(verb, "pipeline", one.name, save, () if has is None else ("its graph",))
        )
    found.extend(at.left_over("pipeline", list(known), kept.delete))
    return found


@contextmanager
def _faults_of(kind: str, name: str) -> Iterator[None]:
    """Let the faults of a graph be told with its name, a line each."""
    try:
        yield
    except FlowError as error:
        lines = "\n".join(f"  {fault}" for fault in error.faults)
        raise InvalidInput(f"The {kind} {name} is invalid:\n{lines}", field="graph") from None


def _same_graph(one: str, other: str) -> bool:
    """Whether two texts are the same graph, however they are laid out."""
    if one == other:
        return True
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


async def knowledge_bases(at: Comparison) -> list[Change]:
    """Knowledge bases with their settings and grants."""
    if not at.wanted.knowledge_bases:
        return []
    kept, principal = at.engine.knowledge_bases, at.principal
    known = {one.name: one for one in await kept.list_managed(principal)}
    found: list[Change] = []
    for one in at.wanted.knowledge_bases:
        has = known.pop(one.name, None)
        if has is None:
            create = at.later(kept.create, one.name, model=one.model, **_settings(one))
            found.append(Change("create", "knowledge base", one.name, create))
            given = {EVERYONE: "write"}
        else:
            found.extend(_base_changes(at, one, has))
            given = await _grants(at, has)
        found.extend(_grant_changes(at, one, given))
    for base in known.values():
        if at.prune:
            said = (f"with {counted(base.document_count, 'document')}",)
            remove = at.later(kept.delete, base.name)
            found.append(Change("remove", "knowledge base", base.name, remove, said))
        else:
            at.unnamed.append(("knowledge base", base.name))
    return found


def _settings(one: DescribedBase) -> dict[str, Any]:
    """What the description says of a base, as it is stored."""
    said: dict[str, Any] = {}
    for name in ("description", "pipeline"):
        if (value := getattr(one, name)) is not None:
            said[name] = value
    try:
        if one.formats is not None:
            said["formats"] = parse_formats(one.formats)
        if one.search is not None:
            said["search"] = checked_settings(KbSearchSettings, one.search)
        if one.chunking is not None:
            said["chunking"] = checked_settings(KbChunking, one.chunking)
    except InvalidInput as error:
        raise InvalidInput(f"{one.name}: {error}", field=error.field) from None
    return said


def _base_changes(at: Comparison, one: DescribedBase, has: KbInfo) -> Iterator[Change]:
    wanted = _settings(one)
    if one.model and one.model in MODELS and MODELS[one.model].space.name != has.space:
        raise InvalidInput(
            f"The vectors of {one.name} are of another model than {one.model}: run `scrubjay kb"
            f" reembed {one.name} --model {one.model}`, or leave model out.",
            field="model",
        )
    present = {
        "description": has.description,
        "pipeline": has.pipeline,
        "formats": list(has.formats),
        "search": dict(has.search),
        "chunking": dict(has.chunking),
    }
    if not (said := differences(present, wanted)):
        return
    put = at.later(at.engine.knowledge_bases.update, has.id, **wanted)
    yield Change("change", "knowledge base", one.name, put, said)


async def _grants(at: Comparison, base: KbInfo) -> dict[str, str]:
    """The grants of a base by how a file names whom they are for."""
    email_of = {one.user_id: one.email for one in await at.engine.people.list_members(at.principal)}
    found = await at.engine.knowledge_bases.list_grants(at.principal, base.id)
    return {grantee_in_words(grant, email_of): str(grant.level) for grant in found}


def grantee_in_words(grant: GrantInfo, email_of: Mapping[str, str | None]) -> str:
    """`everyone`, `group:NAME`, `user:ADDRESS`: what a file calls whoever holds a grant."""
    kind, _, id_ = grant.token.partition(":")
    if not id_:
        return EVERYONE
    word, _, name = grant.name.partition(" ")
    if kind == "u" and (email := email_of.get(id_)):
        return f"user:{email}"
    return f"{word}:{name}" if name else grant.token


def _grant_changes(at: Comparison, one: DescribedBase, given: dict[str, str]) -> Iterator[Change]:
    if one.grants is None:
        return
    kept = at.engine.knowledge_bases
    for to, level in one.grants.items():
        if given.get(to) != str(level):
            put = at.later(kept.grant, one.name, to, level)
            said = differences({to: given.get(to)}, {to: str(level)})
            yield Change("change", "grants of", one.name, put, said)
    for to in given:
        if to not in one.grants:
            take = at.later(kept.revoke, one.name, to)
            yield Change("change", "grants of", one.name, take, (f"revoke {to}",))


async def workflows(at: Comparison) -> list[Change]:
    """Workflows: their drafts, and the versions that run."""
    if not at.wanted.workflows:
        return []
    kept, principal = at.engine.workflows, at.principal
    known = {one.name: one for one in await kept.list_all(principal) if not one.is_template}
    found = []
    for one in at.wanted.workflows:
        text = one.text(at.folder)
        has = known.pop(one.name, None)
        if has is None or not _same_graph(has.dsl, text):
            with _faults_of("workflow", one.name):
                kept.load(text)
        if has is None:
            found.append(
                Change("create", "workflow", one.name, at.later(partial(_put_workflow, at), one))
            )
            continue
        said = []
        if not _same_graph(has.dsl, text):
            said.append("its graph")
        if one.description and one.description != has.description:
            said.append("its description")
        if one.publish and not await _is_published(at, one.name, text):
            said.append("publish it")
        if said:
            put = at.later(partial(_put_workflow, at), one)
            found.append(Change("change", "workflow", one.name, put, said))
    found.extend(at.left_over("workflow", list(known), kept.delete))
    return found


async def _is_published(at: Comparison, name: str, text: str) -> bool:
    versions = await at.engine.workflows.versions(at.principal, name)
    return bool(versions) and _same_graph(versions[0].dsl, text)


async def _put_workflow(at: Comparison, principal: Principal, one: DescribedWorkflow) -> None:
    kept = at.engine.workflows
    text = one.text(at.folder)
    known = {info.name: info for info in await kept.list_all(principal) if not info.is_template}
    has = known.get(one.name)
    if has is None:
        await kept.create(principal, one.name, text, description=one.description)
    elif not _same_graph(has.dsl, text) or (one.description not in ("", has.description)):
        await kept.save(principal, one.name, text, rev=has.rev, description=one.description or None)
    if one.publish:
        await kept.publish(principal, one.name, note="applied from a file")


async def sources(at: Comparison) -> list[Change]:
    """Sources that documents come from."""
    if not at.wanted.sources:
        return []
    kept, principal = at.engine.sources, at.principal
    known = {one.name: one for one in await kept.list_all(principal)}
    found = []
    for one in at.wanted.sources:
        has = known.pop(one.name, None)
        if has is None:
            found.append(
                Change("create", "source", one.name, at.later(partial(_add_source, at), one))
            )
            continue
        if (has.kind, has.kb) != (one.kind, one.knowledge_base):
            raise InvalidInput(
                f"The source {one.name} is a {has.kind} of {has.kb}, and stays one: remove it first,"
                " or use another name.",
                field="sources",
            )
        wanted: dict[str, Any] = dict(one.settings)
        present = {name: has.settings.get(name) for name in wanted}
        if one.every_s is not None:
            wanted["every_s"], present["every_s"] = one.every_s, has.every_s
        if one.domains is not None:
            wanted["domains"], present["domains"] = sorted(one.domains), sorted(has.domains)
        if one.credential:
            wanted["credential"], present["credential"] = one.credential, has.credential
        if said := differences(present, wanted):
            change = at.later(
                kept.update,
                has.id,
                settings=one.settings or None,
                every_s=one.every_s,
                domains=one.domains,
                credential=one.credential or None,
            )
            found.append(Change("change", "source", one.name, change, said))
    found.extend(at.left_over("source", list(known), kept.remove))
    return found


async def _add_source(at: Comparison, principal: Principal, one: DescribedSource) -> None:
    new = NewSource(
        one.kind,
        one.name,
        one.knowledge_base,
        one.settings,
        every_s=one.every_s,
        domains=one.domains or (),
        credential=one.credential,
    )
    try:
        await at.engine.sources.add(principal, new)
    except Unavailable as error:
        raise Unavailable(f"The source {one.name} can't be reached: {error}") from error
