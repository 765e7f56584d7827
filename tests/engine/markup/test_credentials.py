"""What is taken out of messages, and what merely looks like it."""

from __future__ import annotations

import pytest

from engine.markup.credentials import REMOVED, without_credentials

# Put together here, or whoever scans this repository would raise the alarm.
PEM = (
    "-----BEGIN RSA PRIVATE " + "KEY-----\n" + "MIIEow+/=\n" * 12 + "-----END RSA PRIVATE KEY-----"
)
CREDENTIALS = [
    "xoxb-" + "1234567890-" * 3 + "abcDEF",
    "xapp-1-" + "A1" * 12,
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1_B" * 10,
    "glpat-" + "a-1_" * 6,
    "AKIA" + "ABCD1234" * 2,
    "sk-ant-" + "api03-" + "aB3_" * 12,
    "sk-proj-" + "aB3-" * 12,
    "sk_live_" + "a1B2" * 6,
    "AIza" + "a1-B_" * 7,
    "npm_" + "a1B2c3" * 6,
    "pypi-" + "AgEIcHlwaS5vcmc" * 5,
    "hf_" + "aBcDe" * 7,
    "sj_" + "aB3-_" * 8 + "abc",
    "MTIx" + "NDU2" * 5 + "." + "GabCde" + "." + "aB3_" * 9,
    "eyJ" + "hbGciOi" * 3 + ".eyJ" + "zdWIiOi" * 4 + "." + "dGVzdA" * 6,
    PEM,
]
HARMLESS = [
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "https://example.com/a:b@c and bob@example.com",
    "http://user@host/path",
    "the key is under the mat; password = see the wiki",
    "sk-learn is a library, sk-1 a screen",
    "ghp_short, AKIA alone, eyJ.eyJ.x",
    "a uuid 123e4567-e89b-12d3-a456-426614174000",
    "BEGIN PRIVATE KEY is how the file starts",
    "ssh://git@host:22/repo and redis://127.0.0.1:6379/0",
]


@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda text: text[:8].strip("-"))
@pytest.mark.parametrize("around", ["{}", "try `{}`.", "token={}\n", "({})", "<{}>", "a “{}” b"])
def test_a_credential_goes_and_what_is_around_it_stays(credential: str, around: str) -> None:
    assert without_credentials(around.format(credential)) == around.format(REMOVED)


def test_of_an_address_the_password_goes() -> None:
    said = "DSN postgresql://app:hunter2/x? no: postgresql://app:s3cr3t!@db:5432/app"
    assert without_credentials(said) == said.replace("s3cr3t!", REMOVED)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_merely_looks_like_one_stays(text: str) -> None:
    assert without_credentials(text) == text


@pytest.mark.parametrize(
    "piece",
    ["eyJ", "eyJabcdefghij.", "-----BEGIN PRIVATE KEY-----", "a://b:", "M" * 24 + ".", "sk-a", PEM],
)
def test_hostile_text_comes_to_an_end(piece: str) -> None:
    """What is quadratic here would run into the tests' time limit."""
    text = piece * (2_000_000 // len(piece))
    assert len(without_credentials(text)) <= len(text)
