"""Hands one message to the mail server of the settings. The library is loaded by the first.

`starttls` and `tls` are required, not tried: a server that offers neither gets nothing, and its
certificate is checked. What the server refuses for now (4xx, or no answer) is `Unavailable`; what
it refuses for good (5xx), or is set up wrongly, is `MailRefused`.
"""

from __future__ import annotations

import ssl
from email.message import EmailMessage

from engine.errors import MailRefused, Unavailable
from engine.settings import MailSettings

PORTS = {"tls": 465, "starttls": 587, "plain": 25}
REPLY_MAX = 200  # characters of a server's reply that are repeated


async def send(settings: MailSettings, message: EmailMessage) -> None:
    """Deliver a message to the mail server, or raise `Unavailable` or `MailRefused`."""
    import aiosmtplib  # noqa: PLC0415 (lazy)

    where = f"{settings.host}:{port_of(settings)}"
    try:
        await aiosmtplib.send(
            message,
            hostname=settings.host,
            port=port_of(settings),
            username=settings.username or None,
            password=settings.password.get_secret_value() or None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            timeout=settings.timeout_s,
            tls_context=_context(settings),
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        refusal = error.recipients[0]
        raise _refusal(where, refusal.code, refusal.message) from None
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal(where, error.code, error.message) from None
    except (aiosmtplib.SMTPTimeoutError, aiosmtplib.SMTPServerDisconnected):
        raise _away(where) from None
    except aiosmtplib.SMTPConnectError as error:
        if isinstance(error.__cause__, ssl.SSLError):
            raise _untrusted(where) from None
        raise _away(where) from None
    except ssl.SSLError:
        raise _untrusted(where) from None
    except OSError:
        raise _away(where) from None
    except aiosmtplib.SMTPException as error:  # what the server does not offer: STARTTLS, AUTH
        raise MailRefused(
            f"The mail server {where} does not offer what mail.security or mail.username asks for"
            f" ({_shown(str(error))}). Correct these settings; nothing was sent in clear."
        ) from None


async def check(settings: MailSettings) -> None:
    """Connect and sign in without sending; raises as `send` does."""
    import aiosmtplib  # noqa: PLC0415 (lazy)

    where = f"{settings.host}:{port_of(settings)}"
    client = aiosmtplib.SMTP(
        hostname=settings.host,
        port=port_of(settings),
        username=settings.username or None,
        password=settings.password.get_secret_value() or None,
        use_tls=settings.security == "tls",
        start_tls=settings.security == "starttls",
        timeout=settings.timeout_s,
        tls_context=_context(settings),
    )
    try:
        async with client:
            await client.noop()
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal(where, error.code, error.message) from None
    except (ssl.SSLError, aiosmtplib.SMTPConnectError) as error:
        secure = isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError)
        raise (_untrusted(where) if secure else _away(where)) from None
    except (OSError, aiosmtplib.SMTPTimeoutError, aiosmtplib.SMTPServerDisconnected):
        raise _away(where) from None
    except aiosmtplib.SMTPException as error:
        raise MailRefused(
            f"The mail server {where} does not offer what mail.security or mail.username asks for"
            f" ({_shown(str(error))}). Correct these settings."
        ) from None


def port_of(settings: MailSettings) -> int:
    """The port to connect to: the one set, or the usual one of `mail.security`."""
    return settings.port or PORTS[settings.security]


def _context(settings: MailSettings) -> ssl.SSLContext | None:
    if settings.security == "plain":
        return None
    return ssl.create_default_context(cafile=settings.ca_file or None)


def _refusal(where: str, code: int, reply: str) -> Unavailable | MailRefused:
    said = f"The mail server {where} answered {code} {_shown(reply)}".rstrip()
    if 400 <= code < 500:
        return Unavailable(f"{said}. It is tried again.")
    return MailRefused(f"{said}. Check mail.username, mail.sender and the address written to.")


def _away(where: str) -> Unavailable:
    return Unavailable(f"The mail server {where} can't be reached: check mail.host and mail.port.")


def _untrusted(where: str) -> MailRefused:
    return MailRefused(
        f"No encrypted connection to the mail server {where}: check its certificate, mail.security"
        " and mail.ca_file."
    )


def _shown(reply: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in reply).split())[:REPLY_MAX]
