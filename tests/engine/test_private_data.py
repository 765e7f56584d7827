"""What stands on the disk is the owner's alone, and no secret of the settings is ever written out."""

from __future__ import annotations

import logging
import stat
from io import StringIO
from pathlib import Path

from engine.runtime import _copy_sqlite, open_engine
from engine.settings import secret_values
from engine.telemetry import configure_logging
from tests.fakes.homes import home_settings

SECRETS = {
    "system.secret_key": "k" * 20 + "0123456789abcdefgh",
    "embedding.api_key": "embedding-key-is-plain",
    "llm.api_key": "llm-key-is-plain-text",
    "search.rerank_api_key": "rerank-key-is-plain",
    "llm.base_url": "http://me:llm%2Fpassword@127.0.0.1:1/v1",
}


async def test_a_new_data_folder_is_closed_to_others(tmp_path: Path) -> None:
    settings = home_settings(tmp_path / "new")
    async with open_engine(settings):
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
        for name in ("secret.key", "scrubjay.db"):
            assert stat.S_IMODE((settings.home / name).stat().st_mode) == 0o600, name
    copy = tmp_path / "copy.db"
    _copy_sqlite(settings.home / "scrubjay.db", copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_no_secret_of_the_settings_reaches_a_log_or_a_repr(tmp_path: Path) -> None:
    settings = home_settings(tmp_path, **{k.replace(".", "__"): v for k, v in SECRETS.items()})
    values = secret_values(settings)
    assert {*list(SECRETS.values())[:4], "llm/password", "llm%2Fpassword"} <= set(values)
    assert not any(value in repr(settings) for value in values)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = StringIO()
    try:
        async with open_engine(settings):
            configure_logging(stream=written)
            log = logging.getLogger("engine.somewhere")
            fault = RuntimeError(f"refused: {values}")
            log.error("it failed with %s", values[0], extra={"told": values[1]}, exc_info=fault)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "refused" in written.getvalue()
    assert [value for value in values if value in written.getvalue()] == []
