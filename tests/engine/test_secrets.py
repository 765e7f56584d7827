from __future__ import annotations

import stat
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import clock
from engine.errors import ConfigurationError, EngineError, InvalidInput, Unauthenticated
from engine.secrets import Secrets, load_key_file, parse_keys, rotate_key_file

OLD, NEW = "o" * 40, "n" * 40


@given(st.text())
def test_a_secret_comes_back_and_its_text_does_not_show_it(text):
    secrets = Secrets([NEW])
    stored = secrets.encrypt("credentials", text)
    assert secrets.decrypt("credentials", stored) == text
    assert secrets.encrypt("credentials", text) != stored


def test_a_secret_opens_only_for_its_purpose():
    stored = Secrets([NEW]).encrypt("credentials", "hunter2")
    with pytest.raises(InvalidInput):
        Secrets([NEW]).decrypt("cursors", stored)


def test_old_keys_open_what_they_closed_and_renewing_moves_it_to_the_newest():
    stored = Secrets([OLD]).encrypt("credentials", "hunter2")
    rotated = Secrets([NEW, OLD])
    renewed = rotated.renew("credentials", stored)
    assert rotated.decrypt("credentials", stored) == "hunter2"
    assert Secrets([NEW]).decrypt("credentials", renewed) == "hunter2"
    assert rotated.renew("credentials", renewed) == renewed


def test_a_missing_key_is_named_and_damage_is_told_apart():
    stored = Secrets([OLD]).encrypt("credentials", "hunter2")
    with pytest.raises(ConfigurationError, match=Secrets([OLD]).key_id):
        Secrets([NEW]).decrypt("credentials", stored)
    for damaged in ("", "x", stored[:-4], stored + "=", stored.replace(".", ".A", 2)):
        with pytest.raises(EngineError) as caught:
            Secrets([OLD]).decrypt("credentials", damaged)
        assert "hunter2" not in str(caught.value)


@given(st.text())
def test_a_signed_payload_is_verified(payload):
    signed = Secrets([NEW]).sign("viewer-links", payload)
    assert Secrets([NEW]).verify("viewer-links", signed) == payload


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_no_other_text_is_ours(position, character):
    secrets = Secrets([NEW])
    signed = secrets.sign("cursors", "payload", expires_at=clock.now() + timedelta(hours=1))
    position %= len(signed)
    forged = signed[:position] + character + signed[position + 1 :]
    if forged == signed:
        return
    with pytest.raises(Unauthenticated):
        secrets.verify("cursors", forged)


def test_a_signature_ends_when_it_says(fixed_clock):
    secrets = Secrets([NEW])
    signed = secrets.sign("viewer-links", "x", expires_at=clock.now() + timedelta(days=7))
    assert secrets.verify("viewer-links", signed) == "x"
    fixed_clock.advance(7 * 86_400)
    with pytest.raises(Unauthenticated, match="expired"):
        secrets.verify("viewer-links", signed)


def test_a_signature_for_one_purpose_is_worth_nothing_for_another():
    signed = Secrets([NEW]).sign("cursors", "x")
    with pytest.raises(Unauthenticated):
        Secrets([NEW]).verify("viewer-links", signed)


def test_keys_are_made_private_kept_and_rotated(tmp_path):
    path = tmp_path / "home" / "secret_key"
    first = load_key_file(path)
    stored = first.encrypt("credentials", "hunter2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key_file(path).key_id == first.key_id
    second = rotate_key_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert second.key_id != first.key_id
    assert load_key_file(path).decrypt("credentials", stored) == "hunter2"
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_processes_that_start_together_use_one_key(tmp_path):
    ids = []
    threads = [
        threading.Thread(target=lambda: ids.append(load_key_file(tmp_path / "key").key_id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_no_key_is_shown():
    assert NEW not in repr(Secrets([NEW]))
    with pytest.raises(ConfigurationError) as caught:
        Secrets(["too-short"])
    assert "too-short" not in str(caught.value)


def test_several_keys_may_be_configured():
    assert parse_keys(f" {NEW},\n{OLD} ") == [NEW, OLD]
