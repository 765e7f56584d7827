"""Prompts as files: `load_prompt("answer")` reads answer.md beside this module.

The comment at a prompt's head says what it is for and which version it is; whoever changes what a
prompt says raises the version (a test compares), and each stored answer names the one it was
written with.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_VERSION = re.compile(r"Version (\d+)\.")


@cache
def load_prompt(name: str) -> str:
    """The text of a prompt, without the comment at its head."""
    return _read(name)[1]


@cache
def prompt_label(name: str) -> str:
    """The name of a prompt with its version: "answer/2"."""
    found = _VERSION.search(_read(name)[0])
    return f"{name}/{found[1] if found else 1}"


def _read(name: str) -> tuple[str, str]:
    text = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    if not text.startswith("<!--"):
        return "", text.strip()
    head, _, rest = text.partition("-->")
    return head, rest.strip()
