"""The URL guard and the fetch, against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.errors import DocumentError, InvalidInput
from engine.net.fetching import RETRY_AFTER_MAX_S, canonical_url, check_url, fetch, is_allowed

Reply = Callable[[str, dict[str, str]], bytes]


def reply(status: str, body: bytes = b"", **headers: str) -> bytes:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    named.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{key}: {value}\r\n" for key, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode() + body


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handle: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that has closed every connection when it ends."""
    at_work: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        with contextlib.suppress(ConnectionError):
            try:
                await handle(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    server = await asyncio.start_server(tracked, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
    if at_work:
        await asyncio.wait(at_work, timeout=60)


@contextlib.asynccontextmanager
async def serving(answer: Reply) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        headers = {key.lower(): value for key, value in headers.items()}
        writer.write(answer(head[0].split()[1], headers))
        await writer.drain()

    async with listening(handle) as port:
        yield port


async def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_a_page_comes_with_its_name_type_and_validators() -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        return reply(
            "200 OK",
            b"<p>Hi",
            Content_Type="text/html; charset=utf-8",
            ETag='"1"',
            Last_Modified="Mon, 01 Jun 2026 00:00:00 GMT",
        )

    async with serving(answer) as port:
        url = f"http://127.0.0.1:{port}/docs/leave#top"
        fetched = await fetch(url, allow_private=True)

    assert fetched.data == b"<p>Hi"
    assert fetched.url == f"http://127.0.0.1:{port}/docs/leave"
    assert (fetched.mime, fetched.filename) == ("text/html", "leave.html")
    assert (fetched.etag, fetched.last_modified) == ('"1"', "Mon, 01 Jun 2026 00:00:00 GMT")


async def test_the_name_goes_to_the_server_and_the_checked_address_is_connected_to() -> None:
    seen: list[str] = []

    def answer(path: str, headers: dict[str, str]) -> bytes:
        seen.append(headers["host"])
        return reply("200 OK", b"x")

    async with serving(answer) as port:
        url = f"http://wiki.example:{port}/a.txt"
        await fetch(url, allow_private=True, resolve=to_loopback)
        assert seen == [f"wiki.example:{port}"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"]
)
async def test_loopback_is_refused_by_any_spelling(host: str) -> None:
    with pytest.raises(InvalidInput, match="private or reserved"):
        await fetch(f"http://{host}:9/x")


async def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.7"]

    with pytest.raises(InvalidInput, match=r"rebind\.example is a private"):
        await fetch("http://rebind.example/x", resolve=resolve)


async def test_each_redirect_is_resolved_and_checked_again() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with serving(lambda path, headers: reply("302 Found", Location="/next")) as port:
        with pytest.raises(InvalidInput, match="private or reserved"):
            await fetch(f"http://wiki.example:{port}/", allow_private=True, resolve=rebinding)
    assert asked == ["wiki.example", "wiki.example"]


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "file:///etc/passwd", "http://u:p@127.0.0.1/"]
)
async def test_a_redirect_may_not_lead_where_a_url_may_not(target: str) -> None:
    async with serving(lambda path, headers: reply("301 Moved", Location=target)) as port:
        with pytest.raises(InvalidInput):
            await fetch(f"http://127.0.0.1:{port}/", allow_private=True)


async def test_redirects_are_followed_and_counted() -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        if path == "/loop":
            return reply("302 Found", Location="/loop")
        return reply("302 Found", Location="end.md") if path == "/" else reply("200 OK", b"end")

    async with serving(answer) as port:
        fetched = await fetch(f"http://127.0.0.1:{port}/", allow_private=True)
        assert (fetched.data, fetched.filename) == (b"end", "end.md")
        with pytest.raises(DocumentError, match="redirects more than 5 times"):
            await fetch(f"http://127.0.0.1:{port}/loop", allow_private=True)


@pytest.mark.parametrize("declared", [True, False])
async def test_more_bytes_than_allowed_are_refused_declared_or_not(declared: bool) -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        length = {} if declared else {"Content_Length": "10"}
        body = b"x" * 2000
        if declared:
            return reply("200 OK", body)
        chunked = reply("200 OK", b"", Transfer_Encoding="chunked", **length)
        chunked = chunked.replace(b"Content-Length: 10\r\n", b"")
        return chunked + b"7d0\r\n" + body + b"\r\n0\r\n\r\n"

    async with serving(answer) as port:
        with pytest.raises(DocumentError) as caught:
            await fetch(f"http://127.0.0.1:{port}/", allow_private=True, max_bytes=1000)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("status", "retry"), [("404 Not Found", False), ("403 Forbidden", False), ("503 Busy", True)]
)
async def test_a_refusal_says_what_to_do_and_whether_to_come_back(status: str, retry: bool) -> None:
    async with serving(lambda path, headers: reply(status)) as port:
        with pytest.raises(DocumentError, match=status[:3]) as caught:
            await fetch(f"http://127.0.0.1:{port}/", allow_private=True)
    assert caught.value.retry is retry


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 500\r\n\r\n<p>cut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>cu\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<p>cu",
    ],
    ids=["length", "no-last-chunk", "within-a-chunk"],
)
async def test_a_body_that_is_cut_short_is_said_to_be(sent: bytes) -> None:
    async with serving(lambda path, headers: sent) as port:
        with pytest.raises(DocumentError, match="cut short") as caught:
            await fetch(f"http://127.0.0.1:{port}/", allow_private=True)
    assert caught.value.retry


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Busy"])
async def test_a_server_says_when_to_come_back_in_seconds_or_by_a_date(status: str) -> None:
    async def asked(value: str) -> float | None:
        async with serving(lambda path, headers: reply(status, Retry_After=value)) as port:
            with pytest.raises(DocumentError) as caught:
                await fetch(f"http://127.0.0.1:{port}/", allow_private=True)
        return caught.value.retry_after_s

    assert await asked("120") == 120
    moment = datetime.now(UTC) + timedelta(seconds=300)
    by_date = await asked(moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    assert by_date is not None
    assert 200 < by_date <= 300
    assert await asked("999999999") == RETRY_AFTER_MAX_S
    assert await asked("soon") is None


FORM = b"<form method=post><input name=u><input type='password' name=p><button>Go</button></form>"


@pytest.mark.parametrize(
    ("asked", "leads_to", "page"),
    [
        ("/wiki/a", "/login?next=/wiki/a", FORM),
        ("/wiki/a", "/wiki/a?login=1", FORM),
        ("/wiki/a", "/users/sign_in", b"<h1>Sign in</h1>" + FORM + b"words " * 300),
        (
            "/wiki/a",
            "/auth/realms/x/protocol/openid-connect/auth/login?client_id=a",
            b"<form></form>",
        ),
        (
            "/wiki/a",
            "/saml",
            b"<form action=https://idp.example><input type=hidden name=SAMLRequest></form>",
        ),
        ("/wiki/a", "/wp-login.php?redirect_to=%2Fa", b"<script>go()</script><p>Loading</p>"),
        ("/private", "", b"<title>Log in</title>" + FORM),
    ],
)
async def test_a_login_in_place_of_the_page_is_refused(
    asked: str, leads_to: str, page: bytes
) -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        if path == asked and leads_to:
            return reply("302 Found", Location=leads_to)
        return reply("200 OK", page, Content_Type="text/html; charset=utf-8")

    async with serving(answer) as port:
        with pytest.raises(DocumentError, match="asks for a login") as caught:
            await fetch(f"http://127.0.0.1:{port}{asked}", allow_private=True)
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("asked", "leads_to", "page"),
    [
        ("/a", "/docs/sso-guide", b"<p>" + b"How to sign in. " * 50),
        ("/how", "/docs/login", b"<p>" + b"How to sign in. " * 50),
        ("/a", "/b", b"<p>" + b"Long text. " * 300 + FORM),
        ("/docs/login", "", b"<p>" + b"How to sign in. " * 50 + FORM),
        ("/a", "/b", b"<input type=text name=q><p>Short."),
    ],
)
async def test_a_page_about_logins_or_with_a_form_is_a_page(
    asked: str, leads_to: str, page: bytes
) -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        if path == asked and leads_to:
            return reply("302 Found", Location=leads_to)
        return reply("200 OK", page, Content_Type="text/html")

    async with serving(answer) as port:
        assert (await fetch(f"http://127.0.0.1:{port}{asked}", allow_private=True)).data == page


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://Wiki.Example:443/a#b", "https://wiki.example/a"),
        ("http://wiki.example", "http://wiki.example/"),
        ("http://[::1]:8080/?q=A#x", "http://[::1]:8080/?q=A"),
        ("https://wiki.example/A%20b/", "https://wiki.example/A%20b/"),
        ("ftp://wiki.example/a#b", "ftp://wiki.example/a#b"),
        ("http://[::1/", "http://[::1/"),
    ],
)
def test_an_address_has_one_spelling(url: str, address: str) -> None:
    assert canonical_url(url) == address


async def test_a_silent_server_ends_in_a_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as port:
        with pytest.raises(DocumentError, match=r"within 0\.2 s") as caught:
            await fetch(f"http://127.0.0.1:{port}/", allow_private=True, timeout_s=0.2)
    assert caught.value.retry


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving(lambda path, headers: reply("200 OK", b"direct")) as port:
        fetched = await fetch(f"http://127.0.0.1:{port}/", allow_private=True)
    assert fetched.data == b"direct"


async def test_tls_asks_for_the_name_and_trusts_no_certificate_of_its_own_making(
    tmp_path: Path,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wiki.example")])
    begin = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    pem = tmp_path / "server.pem"
    private = key.private_bytes(
        form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asked: list[str | None] = []
    context.sni_callback = lambda sock, host, used: asked.append(host)

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(nothing, tls=context) as port:
        with pytest.raises(DocumentError, match="a certificate that this machine does not trust"):
            await fetch(f"https://wiki.example:{port}/", allow_private=True, resolve=to_loopback)
    assert asked == ["wiki.example"]


async def test_an_address_that_does_not_answer_leaves_the_next_one() -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["::1", "127.0.0.1"]

    async with serving(lambda path, headers: reply("200 OK", b"x")) as port:
        url = f"http://wiki.example:{port}/"
        assert (await fetch(url, allow_private=True, resolve=two)).data == b"x"


async def test_a_name_without_address_is_no_crash() -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError("unknown")

    with pytest.raises(DocumentError, match="has no address"):
        await fetch("http://nobody.example/", resolve=nobody)


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('attachment; filename="../../etc/cron.d/x.md"', "x.md"),
        ("attachment; filename*=UTF-8''%C3%A4.pdf", "ä.pdf"),
        ("", "index"),
    ],
)
async def test_a_file_name_is_bare(disposition: str, filename: str) -> None:
    def answer(path: str, headers: dict[str, str]) -> bytes:
        return reply("200 OK", b"x", Content_Disposition=disposition)

    async with serving(answer) as port:
        fetched = await fetch(f"http://127.0.0.1:{port}/", allow_private=True)
    assert fetched.filename == filename


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "javascript:alert(1)",
        "http://",
        "/relative",
        "http://user:secret@example.org/",
        "http://exa mple.org/",
        "http://example.org:99999/",
        "http://example.org\\@127.0.0.1/",
        "http://[::1/",
        "http://example.org/" + "a" * 2000,
    ],
)
def test_a_url_that_can_not_be_fetched_is_refused_by_its_form(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url(url)
    assert caught.value.field == "url"
    assert "secret" not in str(caught.value)


PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"]
PRIVATE = [
    *("10.1.2.3", "172.31.0.1", "192.168.1.1", "127.8.9.1", "100.64.0.1", "::1", "fd12::1"),
    *("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::a00:1"),
]
NEVER = [
    *("169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
    *("::", "fe80::1", "fe80::1%eth0", "ff02::1", "2001:db8::1", "2001::1", "fd00:ec2::254"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "168.63.129.16"),
    *("not an address", ""),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_permission(address: str) -> None:
    assert not is_allowed(address)
    assert is_allowed(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_reserved_and_metadata_addresses_are_never_allowed(address: str) -> None:
    assert not is_allowed(address)
    assert not is_allowed(address, allow_private=True)
