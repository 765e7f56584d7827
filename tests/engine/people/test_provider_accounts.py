"""Accounts of GitHub: organisations on many pages, none of which may be forgotten."""

from __future__ import annotations

import pytest

from engine.people.federation.accounts import PAGE, _organisations
from engine.people.federation.kinds import GROUPS_MAX, ProviderRules, profile_of


@pytest.mark.parametrize(
    ("count", "is_whole"), [(0, True), (99, True), (100, True), (1999, True), (GROUPS_MAX, False)]
)
async def test_organisations_on_later_pages_count_and_too_many_are_said_to_be(count, is_whole):
    asked = []

    async def get(path: str) -> list[dict[str, str]]:
        asked.append(path)
        start = (int(path.rpartition("=")[2]) - 1) * PAGE
        return [{"login": f"org{at}"} for at in range(start, min(start + PAGE, count))]

    claims = await _organisations(get)
    found = profile_of(
        ProviderRules("github", issuer="https://github.com"), "", {"sub": "1"} | claims
    )
    assert found.leaves_groups_out is not is_whole
    assert (found.groups is not None) is is_whole
    if is_whole:
        assert len(found.groups) == count
    assert len(asked) == min(count // PAGE + 1, GROUPS_MAX // PAGE)
