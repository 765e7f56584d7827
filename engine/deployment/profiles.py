"""Assistants and search apps of a deployment, compared with those there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.assistants.assistants import Profiles
from engine.assistants.profiles import SearchProfile, slug_of
from engine.deployment.changes import Change, Verb, differences
from engine.deployment.comparison import Comparison
from engine.deployment.described import EVERYONE
from engine.domain import Principal
from engine.engine import Engine


async def assistants(at: Comparison) -> list[Change]:
    """Assistants of the tenant."""
    return await _compared(at, at.engine.assistants, "assistant", at.wanted.assistants)


async def search_apps(at: Comparison) -> list[Change]:
    """Search apps of the tenant."""
    return await _compared(at, at.engine.search_apps, "search app", at.wanted.search_apps)


async def _compared(
    at: Comparison, kept: Profiles, kind: str, wanted: Sequence[SearchProfile]
) -> list[Change]:
    if not wanted:
        return []
    in_words = await words_for_tokens(at.engine, at.principal)
    known = {one.slug: one for one in await kept.list_all(at.principal)}
    found = []
    for one in wanted:
        slug = one.slug or slug_of(one.name)
        has = known.pop(slug, None)
        said = one.model_dump(exclude_unset=True, exclude={"slug"})
        present = {} if has is None else described(has.profile, in_words)
        for values in (said, present):
            values.update(
                {name: sorted(values[name]) for name in ("kbs", "visible_to") if values.get(name)}
            )
        lines = differences(present, said)
        if has is not None and not lines:
            continue
        verb: Verb = "create" if has is None else "change"
        given = {**one.model_dump(exclude_unset=True), "slug": slug}
        make = at.later(kept.create, given) if has is None else at.later(kept.update, slug, said)
        found.append(Change(verb, kind, slug, make, lines if has is not None else ()))
    found.extend(at.left_over(kind, list(known), kept.remove))
    return found


def described(profile: SearchProfile, in_words: Callable[[str], str]) -> dict[str, Any]:
    """A profile as a file says it."""
    values = profile.model_dump(mode="json")
    values["visible_to"] = [in_words(token) for token in values["visible_to"]]
    return values


async def words_for_tokens(engine: Engine, principal: Principal) -> Callable[[str], str]:
    """Says an access token as a file does: `everyone`, `group:NAME`, `user:ADDRESS`."""
    names = {"tenant": EVERYONE}
    for group in await engine.people.list_groups(principal):
        names[group.token] = f"group:{group.name}"
    for member in await engine.people.list_members(principal):
        names[f"u:{member.user_id}"] = f"user:{member.email or member.name}"
    return lambda token: names.get(token, token)
