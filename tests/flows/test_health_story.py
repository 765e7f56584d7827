"""What health says when a dependency is gone: exactly that one, and what to do."""

from __future__ import annotations

import shutil

from engine.limits import RedisLimits
from engine.runtime import open_engine
from tests.fakes.homes import home_settings
from tests.fakes.installations import Installation
from tests.fakes.openai_server import KEY, Fault, Text, open_server

LEAVE = "# Leave\n\nEverybody gets thirty days of leave, and a wombat on request.\n"


async def failing(notes: Installation) -> dict[str, str]:
    health = await notes.engine.operations.health()
    return {name: text for name, text in health.items() if text}


async def test_all_is_well_with_and_without_documents(notes):
    assert await failing(notes) == {}
    await notes.add(LEAVE)
    await notes.drain()
    assert await failing(notes) == {}
    assert "_probe" not in await notes.engine.blobs.tenants()


async def test_files_that_are_gone_are_missed(notes):
    await notes.add(LEAVE)
    await notes.drain()
    shutil.rmtree(notes.engine.settings.blob_folder)
    assert await failing(notes) == {
        "files": "1 of the 1 newest files are missing: put the folder or bucket of storage.* back,"
        " or restore a backup."
    }


async def test_a_store_that_can_not_be_written_is_named(notes):
    folder = notes.engine.settings.blob_folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("not a folder")
    assert list(await failing(notes)) == ["files"]


async def test_redis_that_is_away_is_named(notes, monkeypatch):
    away = RedisLimits("redis://127.0.0.1:1/0")
    monkeypatch.setattr(notes.engine.operations, "_limits", away)
    assert "check that it runs" in (await failing(notes))["redis"]
    await away.aclose()


async def test_models_that_answer_are_well_and_one_that_refuses_the_key_says_so(tmp_path):
    async with open_server() as server:
        settings = home_settings(
            tmp_path,
            llm__model="openai:gpt-test",
            llm__base_url=f"{server.base_url}",
            llm__api_key=KEY,
            search__rerank_base_url=server.base_url,
            search__rerank_model="test",
            search__rerank_api_key=KEY,
        )
        async with open_engine(settings) as engine:
            server.answer = lambda _: Text("ok")
            found = await engine.operations.probe_models()
            assert {probed.name: probed.fault for probed in found} == {
                "language model": "",
                "reranker": "",
            }
            asked = len(server.requests)
            await engine.operations.health()  # what /ready asks: no call that may cost
            assert len(server.requests) == asked
            server.answer = lambda _: Fault(401)
            [model, _] = await engine.operations.probe_models()
            assert "check llm.api_key" in model.fault
