"""The words of each message, from Jinja2 templates: a subject, a text and the same as HTML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parseaddr
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine import clock

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent / "templates"
SUBJECT_MAX = 200  # characters

Template = Literal["change", "invitation", "notice", "reset", "test", "verify", "workflow"]


@dataclass(frozen=True, slots=True)
class MailLetter:
    """A message before it has a sender: what it says, to whom."""

    to: str
    template: Template
    values: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"MailLetter(template={self.template!r})"  # values hold links, which are secrets


def build_message(letter: MailLetter, *, sender: str, message_id: str) -> EmailMessage:
    """The message as the mail server gets it; `ValueError` for a line break in a header."""
    values = {"to": letter.to} | dict(letter.values)
    name, address = parseaddr(sender)
    message = EmailMessage()
    message["From"] = formataddr((name or "Scrubjay", address))
    message["To"] = letter.to
    message["Subject"] = _one_line(_render(f"{letter.template}.subject.txt", values))
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    message.set_content(_render(f"{letter.template}.txt", values))
    message.add_alternative(_render(f"{letter.template}.html", values), subtype="html")
    return message


def _render(name: str, values: Mapping[str, Any]) -> str:
    return _environment().get_template(name).render(**values)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:SUBJECT_MAX]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 (lazy: only who sends mail needs it here)

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=jinja2.select_autoescape(("html",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        keep_trailing_newline=True,
    )
