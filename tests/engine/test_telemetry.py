"""Logs: one line a record, the correlation id on each, and no secret anywhere."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import telemetry
from engine.telemetry import configure_logging, correlated, correlation_id, keep_secret, redact

log = logging.getLogger("engine.tests")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    ours = {name: logging.getLogger(name).level for name in telemetry.OURS}
    yield io.StringIO()
    root.handlers[:] = kept
    root.setLevel(level)
    for name, before in ours.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)


def test_a_json_record_is_one_object_with_the_correlation_id(stream: io.StringIO) -> None:
    configure_logging(style="json", stream=stream)
    with correlated("req-1"):
        log.info("added %s", "a\nb", extra={"document_id": "d1", "chunks": 3})
    entry = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info",
        "logger": "engine.tests",
        "message": "added a\nb",
        "correlation_id": "req-1",
        "document_id": "d1",
        "chunks": 3,
    }


def test_a_text_record_reads_as_a_line(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    log.warning("slow", extra={"took_ms": 12})
    assert stream.getvalue().split(" ", 1)[1] == "warning slow took_ms=12\n"


def test_records_below_the_level_and_of_chatty_libraries_are_left_out(stream: io.StringIO) -> None:
    configure_logging(level="info", stream=stream)
    log.debug("no")
    logging.getLogger("httpx2").info("no")
    assert stream.getvalue() == ""


def test_debugging_tells_what_we_do_and_not_what_libraries_carry(stream: io.StringIO) -> None:
    configure_logging(level="debug", stream=stream)
    log.debug("a step")
    logging.getLogger("aiosqlite").debug("executing INSERT INTO message … 'private words'")
    logging.getLogger("slack_sdk.web").debug("body: {'text': 'private words'}")
    assert stream.getvalue().split(" ", 1)[1] == "debug   a step\n"


def test_a_correlation_id_ends_with_its_block_and_strange_ones_are_replaced() -> None:
    with correlated() as outer:
        with correlated("x\nforged line") as inner:
            assert correlation_id() == inner != "x\nforged line"
        assert correlation_id() == outer
    assert correlation_id() == ""


def refuse(secret: str) -> None:
    raise RuntimeError(f"refused {secret}")


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_secret_reaches_a_log_by_message_extra_or_traceback(
    stream: io.StringIO, style: Literal["json", "text"]
) -> None:
    secret = "correct horse battery"
    configure_logging(style=style, stream=stream, secrets=[secret])
    try:
        refuse(secret)
    except RuntimeError:
        log.exception("calling with %s", secret, extra={"key": secret, "nested": {"k": [secret]}})
    assert "correct horse" not in stream.getvalue()
    assert "RuntimeError: refused ****" in stream.getvalue().replace("\\n", "\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer ****"),
        ("open postgresql+psycopg://me:hunter2@db/x", "open postgresql+psycopg://me:****@db/x"),
        ("redis://:hunter2@cache/0", "redis://:****@cache/0"),
        ("got sk-abcdefghijklmnop back", "got **** back"),
        ("GET /v/1?sig=abcdef123456&x=1", "GET /v/1?sig=****&x=1"),
        ('{"api_key": "abcdef123456"}', '{"api_key": "****"}'),
        ("token: two tokens of 256", "token: two tokens of 256"),
        ("http://127.0.0.1:7337/v/1 took 3 ms", "http://127.0.0.1:7337/v/1 took 3 ms"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_an_extra_whose_name_says_secret_is_masked(stream: io.StringIO) -> None:
    configure_logging(style="json", stream=stream)
    log.info("x", extra={"password": "hunter22", "count": 1})
    assert json.loads(stream.getvalue())["password"] == "****"


@given(st.text(alphabet="abcXYZ019-_", min_size=8, max_size=30), st.text(max_size=50), st.text())
def test_a_registered_secret_never_survives(secret: str, before: str, after: str) -> None:
    with mock.patch.object(telemetry, "_secrets", set()):
        keep_secret([secret])
        assert secret not in redact(before + secret + after)
