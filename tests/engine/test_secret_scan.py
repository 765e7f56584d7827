"""The scan that holds every test to showing no secret sees each kind of leak."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from engine.access import auditing
from engine.people import access_jwt, api_tokens, passwords
from engine.people.access_jwt import SessionClaims
from engine.people.factors import SECRET_BYTES
from engine.secrets import Secrets
from tests.engine.people.conftest import PASSWORD
from tests.fakes.secret_scan import SECRET, SecretScan

log = logging.getLogger("engine.people.sign_in")


async def test_a_secret_in_a_log_record_is_seen_and_not_repeated(
    secret_scan: SecretScan, monkeypatch: pytest.MonkeyPatch
):
    # A command that ran before may have set up logging to standard error.
    monkeypatch.setattr(logging.getLogger(), "handlers", [secret_scan])
    secret = api_tokens.new_secret()
    log.warning("a token was refused", extra={"token": secret})
    log.warning("wrong password %s", PASSWORD)
    try:
        raise ValueError(secret)  # noqa: TRY301 (as one that fails)
    except ValueError:
        log.exception("it failed")
    seen = secret_scan.take()
    assert len(seen) == 3
    assert secret not in repr(seen)


async def test_a_secret_in_an_audit_row_is_seen(secret_scan: SecretScan, database):
    async with database.write() as session:
        await auditing.append(
            session, "acme", "system", "x", "", {"after": api_tokens.new_secret()}
        )
    assert [item.partition(":")[0] for item in secret_scan.take()] == ["a row of audit_event"]


async def test_everything_we_mint_has_a_form_that_is_seen():
    who = SessionClaims("s" * 32, "u" * 32, "t" * 32, access_jwt.AUDIENCE)
    minted = [
        *(api_tokens.new_secret(kind) for kind in "pks"),
        access_jwt.sign(Secrets(["k" * 40]), "scrubjay", who)[0],
        await passwords.hash_password(PASSWORD),
        *(f"sj_{kind}_" + "x" * 43 for kind in ("session", "refresh", "link", "invite")),
        "otpauth://totp/Scrubjay:ada?secret=" + "A" * (SECRET_BYTES * 8 // 5),
    ]
    assert [item for item in minted if not SECRET.search(f"before {item} after")] == []


@pytest.mark.parametrize("name", ["api/openapi.json", "docs/reference/http.md", "server.json"])
def test_no_example_in_what_we_publish_is_a_secret(name: str):
    text = (Path(__file__).parents[2] / name).read_text(encoding="utf-8")
    assert SECRET.search(text) is None
