"""Credentials that people paste into a chat, taken out before a message is kept.

Only what is unmistakable by its own form: tokens with a registered prefix, private keys, passwords
in addresses, signed web tokens. A word that merely looks random stays: it may be a commit.
"""

from __future__ import annotations

import re

REMOVED = "[credential removed]"

_CREDENTIAL = re.compile(
    r"-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY-----[A-Za-z0-9+/=\s]{20,8000}"
    r"(?:-----END (?:[A-Z]{2,12} ){0,3}PRIVATE KEY-----)?"
    r"|(?P<address>\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@<>|]{1,100}:)[^\s/@<>|]{3,200}(?=@[\w.-])"
    r"|(?<![A-Za-z0-9_-])(?:"
    r"sj_[A-Za-z0-9_-]{43}"  # our own
    r"|xox[abeprs]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|xapp-\d-[A-Za-z0-9-]{10,250}"
    r"|gh[opsur]_[A-Za-z0-9]{30,255}"  # GitHub
    r"|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,100}"  # GitLab
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|sk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{20,250}"  # OpenAI, Anthropic
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}"  # Stripe
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|npm_[A-Za-z0-9]{36}"
    r"|pypi-[A-Za-z0-9_-]{50,300}"
    r"|hf_[A-Za-z0-9]{30,100}"  # Hugging Face
    r"|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45}"  # Discord
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{16,2000}"  # JWT
    r")(?![A-Za-z0-9_-])"
)


def without_credentials(text: str) -> str:
    """`text` with every credential replaced; the rest, and an address's user and host, as it is."""
    return _CREDENTIAL.sub(lambda found: f"{found['address'] or ''}{REMOVED}", text)
