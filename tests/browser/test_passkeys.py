"""Passkeys in Chromium, whose virtual authenticator stands in for a phone."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE_S, WATCH, Served

pytestmark = pytest.mark.timeout(900)

PASSWORD = "plum kettle orbit 42"
PHONE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def owner_link(served: Served) -> str:
    """The secret with which the first owner sets a password."""
    shown = subprocess.run(
        [sys.executable, "-m", "cli.main", "owner", "create"],
        env=os.environ
        | {"SCRUBJAY_HOME": str(served._home), "SCRUBJAY_EMBEDDING__MODEL": "hashing"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    found = re.search(r"#(\S+)", shown.stdout + shown.stderr)
    assert found is not None
    return found[1]


def confirm(page: Page) -> None:
    page.goto("/account/confirm")
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Confirm", exact=True).click()
    page.wait_for_url("**/account")


def test_a_passkey_is_added_signs_in_confirms_and_is_deleted(
    browser: Browser, served: Served
) -> None:
    link = owner_link(served)
    context = browser.new_context(base_url=f"http://localhost:{served.port}")
    context.set_default_timeout(PATIENCE_S * 1000)
    context.add_init_script(WATCH)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    devices = context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": PHONE})

    page.goto(f"/welcome#{link}")
    page.fill("#email", "chief@example.com")
    page.fill("#password", PASSWORD)
    page.locator("main button[type=submit]").first.click()
    page.wait_for_url(f"http://localhost:{served.port}/")
    confirm(page)
    page.fill("#passkey-name", "phone")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_text("The passkey “phone” is added").wait_for()

    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"http://localhost:{served.port}/")

    page.goto("/account/confirm")
    page.get_by_role("button", name="Confirm with a passkey").click()
    page.wait_for_url("**/account")
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("The passkey “phone” is deleted").wait_for()

    page.goto("/sign-in")
    assert page.evaluate("window.violations") == []
    assert faults == []
    context.close()
