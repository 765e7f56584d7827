"""Addresses of documents and passages: short, the same each time, and read strictly."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import clock
from engine.errors import LinkEnded
from engine.search import reading_links
from engine.search.links import Links, id_of, long, path_of, short
from engine.search.reading_links import ReadingLink
from engine.secrets import Secrets

IDS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
KEYS = Secrets(["first-" + "k" * 32])


@given(IDS, st.integers(0, 9_999_999), st.integers(0, 99_999_999_999))
def test_an_address_leads_back_to_its_id(id_: str, ordinal: int, offset: int) -> None:
    assert long(short(id_)) == id_
    for whole in (id_, f"{id_}.{ordinal}", f"{id_}~{offset}"):
        path = path_of(whole)
        assert id_of(path) == whole
        assert id_of(f"https://kb.example{path}") == whole
        assert len(path.partition("?")[0]) <= len("/d/") + 22 + len(f"/{ordinal}")


@given(st.text(max_size=60))
def test_no_other_text_is_an_address(text: str) -> None:
    found = id_of(text)
    assert not found or path_of(found)
    assert id_of(f"/d/{text}/../x") == ""


@pytest.mark.parametrize(
    "address",
    [
        *("", "/d/", "/d//3", "/d/../etc/passwd", "/d/abc/../../x", "/d/abc%2f3", "/d/abc/3/4"),
        *("/d/abc/-1", "/d/abc/²", "/d/abc/1e9", "/d/0abc", "/d/00", "/d/" + "z" * 23),
        *("/d/" + "z" * 22, "/v/abc", "kb://notes/documents/abc", "http://[/d/abc", "/D/abc"),
    ],
)  # fmt: skip
def test_what_only_looks_like_an_address_is_none(address: str) -> None:
    assert id_of(address) == ""


@pytest.mark.parametrize("id_", ["", "x", "0" * 31, "G" * 32, "0" * 32 + ".x", "0" * 32 + "~-1"])
def test_what_is_no_id_has_no_address(id_: str) -> None:
    assert path_of(id_) == ""
    assert Links("https://kb.example").viewer(id_) == ""


def test_a_document_from_the_web_keeps_its_address_and_another_is_ours() -> None:
    links = Links("https://kb.example")
    id_ = f"{7:032x}.3"
    assert links.url("https://docs.example/x", id_) == "https://docs.example/x"
    assert links.url("javascript:alert(1)", id_) == links.url("", id_) == "https://kb.example/d/7/3"
    assert Links("https://kb.example", lambda _: "s").url("", f"{7:032x}~40").endswith("/v/s?at=40")


def link(**more: object) -> ReadingLink:
    values: dict[str, object] = {
        "kind": "account",
        "reader": clock.new_id(),
        "id": f"{clock.new_id()}.12",
        "expires_at": clock.now().replace(second=0, microsecond=0) + timedelta(minutes=9),
        "tenant_id": clock.new_id(),
    }
    return ReadingLink(**(values | more))  # type: ignore[arg-type]


def test_a_link_says_for_whom_it_opens_what_until_when() -> None:
    for made in (
        link(),
        link(kind="member", id=clock.new_id()),
        link(kind="token", tenant_id=""),
        link(tenant_id="acme", reader="ada-1"),
    ):
        assert reading_links.verify(KEYS, reading_links.sign(KEYS, made)) == made


def test_a_link_that_was_changed_anywhere_is_not_ours() -> None:
    signed = reading_links.sign(KEYS, link())
    for at, character in enumerate(signed):
        for other in {"a", "B", "0", ".", "~", "-"} - {character}:
            with pytest.raises(LinkEnded) as refused:
                reading_links.verify(KEYS, signed[:at] + other + signed[at + 1 :])
            assert not refused.value.path


def test_a_link_of_another_installation_or_of_before_is_not_ours() -> None:
    others = Secrets(["other-" + "k" * 32])
    old = KEYS.sign("viewer-links", f"acme:ada:{clock.new_id()}")
    for signed in (reading_links.sign(others, link()), old, "", "a.b.c.d", "\ud800", "a" * 5000):
        with pytest.raises(LinkEnded):
            reading_links.verify(KEYS, signed)


def test_a_link_outlives_a_new_key_and_not_its_time() -> None:
    made = link()
    rotated = Secrets(["newer-" + "k" * 32, "first-" + "k" * 32])
    assert reading_links.verify(rotated, reading_links.sign(KEYS, made)) == made
    late = link(expires_at=clock.now() - timedelta(minutes=2))
    with pytest.raises(LinkEnded) as ended:
        reading_links.verify(KEYS, reading_links.sign(KEYS, late))
    assert ended.value.path == path_of(late.id)  # where somebody with an account opens it
