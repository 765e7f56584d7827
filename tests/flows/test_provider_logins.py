"""Whole sign-ins at providers that others wrote: emulated Google, Entra, Okta and GitHub, and the
certified OpenID Connect provider of npm. The browser's part is played; everything else is real.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import select

from cli.serve import build_host
from engine.db.tables import Identity
from engine.domain import Role
from engine.people.federation.providers import NewProvider
from engine.runtime import open_engine
from tests.fakes.homes import home_settings
from tests.fakes.identity_emulators import CLIENT, log_in, open_emulator

URL = "https://ask.example.com"
BACK = f"{URL}/auth/default/idp/callback"
HTML = {"accept": "text/html"}
ADA = "ada@acme.example"
DIRECTORY = "9188040d-6c67-4c5b-b112-36a304b66dad"


def provider_of(service: str, url: str) -> NewProvider:
    """The provider as an admin would add it."""
    known = {
        "google": NewProvider("idp", "google", *CLIENT, issuer=url),
        "microsoft": NewProvider("idp", "entra", *CLIENT, issuer=f"{url}/{DIRECTORY}/v2.0"),
        "okta": NewProvider("idp", "okta", *CLIENT, issuer=f"{url}/oauth2/default"),
        "github": NewProvider(
            "idp",
            "github",
            *CLIENT,
            issuer=url,
            api_url=url,
            scopes="read:user user:email read:org",
        ),
        "oidc-provider": NewProvider("idp", "oidc", *CLIENT, issuer=url),
    }
    return known[service]


@pytest.mark.node
@pytest.mark.parametrize("service", ["google", "microsoft", "okta", "github", "oidc-provider"])
async def test_a_person_signs_in_and_is_known_the_next_time(service: str, tmp_path: Path) -> None:
    settings = home_settings(tmp_path, server__public_url=URL, server__private_issuers=True)
    async with open_emulator(service, BACK) as url, open_engine(settings) as engine:
        owner = await engine.people.owner()
        await engine.people.create_group(owner, "acme")
        new = provider_of(service, url)
        rules = {"acme": "acme"} if service == "github" else {}
        chosen = {"allowed_domains": ("acme.example",), "jit_role": Role.MEMBER, "groups": rules}
        await engine.people.providers.add(owner, NewProvider(**{**_fields(new), **chosen}))
        checked = await engine.people.providers.check(owner, "idp")
        assert urlsplit(checked.token_endpoint).hostname in {"127.0.0.1", "localhost"}

        app = build_host(engine, settings, keyless=None)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        names = []
        for _ in range(2):
            async with (
                httpx2.AsyncClient(transport=transport, base_url=URL) as client,
            ):
                asked = await client.get("/auth/default/idp/start", headers=HTML)
                back = await log_in(asked.headers["location"], ADA, BACK)
                entered = await client.get(back.removeprefix(URL), headers=HTML)
                assert entered.status_code == 303, entered.text
                page = await client.get("/account", headers=HTML)
                names.append(page.text.partition("<h1>")[2].partition("</h1>")[0])
                again = await client.get(back.removeprefix(URL), headers=HTML)
                assert again.status_code == 400  # neither state nor code counts twice
        assert names == ["Ada Lovelace", "Ada Lovelace"]
        async with engine.db.read() as session:
            [identity] = await session.scalars(select(Identity))
        assert ADA not in identity.subject
        if service == "github":
            assert await engine.people.list_group_members(owner, "acme")


def _fields(new: NewProvider) -> dict[str, object]:
    return {name: getattr(new, name) for name in NewProvider.__dataclass_fields__}
