"""Assistants and search apps over REST and the other doors: what they set, and what they never widen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from sqlalchemy import delete

from engine.db.tables import KnowledgeBase
from engine.domain import Role, Scope
from engine.engine import Engine
from engine.errors import Forbidden
from engine.models.port import Completion
from engine.runtime import open_engine
from tests.api.conftest import OpenClient
from tests.api.test_sign_in import FORM, HTML
from tests.fakes.homes import fill, home_settings, make_member_token, make_token
from tests.fakes.language_models import ScriptedModel

PATH = "/api/v1/assistants"
QUESTION = "How many hours of advanced sick leave can I request?"
SECRET = "What is the salary of the chief gardener?"
WRITTEN = "You can request up to 240 hours of advanced sick leave [1]."


class ListeningModel(ScriptedModel):
    """A scripted model that keeps its instructions and settings."""

    def __init__(self, *replies: Any, name: str = "test:scripted") -> None:
        super().__init__(*replies)
        self.name = name
        self.systems: list[str] = []
        self.limits: list[int] = []
        self.temperatures: list[float | None] = []

    def tuned(self, *, name: str = "", temperature: float | None = None) -> ListeningModel:
        assert not name
        self.temperatures.append(temperature)
        return self

    async def stream(
        self, system: str, prompt: str, *, max_tokens: int = 1024
    ) -> AsyncIterator[str | Completion]:
        self.systems.append(system)
        self.limits.append(max_tokens)
        async for piece in super().stream(system, prompt, max_tokens=max_tokens):
            yield piece


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """A data folder of one's own: assistants are made in it."""
    settings = home_settings(tmp_path)
    await fill(settings)
    async with open_engine(settings) as opened:
        yield opened


async def make(client: httpx2.AsyncClient, name: str = "Travel help", **more: Any) -> Any:
    made = await client.post(PATH, json={"name": name, **more})
    assert made.status_code == 201, made.text
    return made.json()


async def ask(client: httpx2.AsyncClient, question: str = QUESTION, **more: Any) -> Any:
    answered = await client.post("/api/v1/ask", json={"question": question, **more})
    assert answered.status_code == 200, answered.text
    return answered.json()


@asynccontextmanager
async def member(
    open_client: OpenClient, engine: Engine, *scopes: Scope
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a member who may read `team` and not `board`."""
    token = await make_member_token(engine, *scopes)
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


async def test_an_assistant_is_made_listed_changed_and_deleted(client) -> None:
    made = await make(client, prompt="Be brief.", kbs=["team"], examples=["How long?"], top_k=3)
    listed = (await client.get(PATH)).json()["assistants"]
    changed = await client.patch(f"{PATH}/travel-help", json={"top_k": None, "opener": "Hello"})
    shown = await client.get(f"{PATH}/{made['id']}")
    gone = await client.delete(f"{PATH}/travel-help")
    absent = await client.get(f"{PATH}/travel-help")
    assert (made["slug"], made["kbs"], made["version"]) == ("travel-help", ["team"], 1)
    assert made["visible_to"] == ["tenant"]
    assert [item["slug"] for item in listed] == ["travel-help"]
    assert changed.json() == shown.json()
    assert {"top_k": None, "opener": "Hello", "prompt": "Be brief.", "version": 2}.items() <= (
        shown.json().items()
    )
    assert shown.headers["etag"] == '"2"'
    assert gone.json()["deleted"]
    assert absent.status_code == 404


async def test_a_change_on_an_old_version_overwrites_nothing(client) -> None:
    await make(client)
    first = await client.patch(
        f"{PATH}/travel-help", json={"opener": "Mine"}, headers={"If-Match": '"1"'}
    )
    late = await client.patch(
        f"{PATH}/travel-help", json={"opener": "Theirs"}, headers={"If-Match": '"1"'}
    )
    shown = (await client.get(f"{PATH}/travel-help")).json()
    assert (first.status_code, late.status_code) == (200, 409)
    assert late.json()["code"] == "stale_assistant"
    assert shown["opener"] == "Mine"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"slug": "Travel Help"}, "slug"),
        ({"kbs": ["nowhere"]}, ""),
        ({"kbs": []}, "kbs"),
        ({"temperature": 3}, "temperature"),
        ({"language": "tlh"}, "language"),
        ({"model": "hal:9000"}, "model"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"visible_to": ["group:nobody"]}, "token"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_a_wrong_setting_is_refused_and_named(client, wrong, field) -> None:
    refused = await client.post(PATH, json={"name": "Travel help", **wrong})
    assert refused.status_code in {404, 422}
    assert field in refused.text
    assert (await client.get(PATH)).json()["assistants"] == []


async def test_changing_an_assistant_changes_the_next_answer(client, engine: Engine) -> None:
    engine.answers._asker._model = model = ListeningModel(WRITTEN, WRITTEN, WRITTEN)
    await make(client, prompt="Answer like a pirate.", temperature=0.2, max_tokens=77)
    first = await ask(client, assistant="travel-help")
    await client.patch(f"{PATH}/travel-help", json={"prompt": "Answer like a lawyer."})
    second = await ask(client, assistant="travel-help")
    await ask(client)
    assert [("pirate" in said, "lawyer" in said) for said in model.systems] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    # Ours come first: nothing that an assistant says can undo a rule.
    assert model.systems[0].index("as far as the rules above") < model.systems[0].index("pirate")
    assert (model.temperatures, model.limits) == ([0.2, 0.2], [77, 77, 1024])
    assert first["answer"] == second["answer"]


async def test_an_assistants_model_answers_with_the_tenants_own_key(client, engine: Engine) -> None:
    owner = await engine.people.owner()
    await engine.llms.set_key(owner, "openai:*", api_key="sk-0123456789abcdef")
    other = ListeningModel(WRITTEN, name="openai:gpt-other")
    opened: list[str] = []

    def open_model(name: str, **_: object) -> ListeningModel:
        opened.append(name)
        return other

    engine.llms._open_model = open_model  # type: ignore[assignment]
    engine.answers._asker._model = ListeningModel(WRITTEN)
    await make(client, model="openai:gpt-other")
    answer = await ask(client, assistant="travel-help")
    shown = (await client.get(f"/api/v1/conversations/{answer['conversation_id']}")).json()
    assert opened == ["openai:gpt-other"]
    assert shown["turns"][0]["model"] == "openai:gpt-other"


async def test_an_assistant_shows_nobody_what_they_may_not_read(
    client, open_client: OpenClient, engine: Engine
) -> None:
    await make(client, kbs=["team", "board"])
    owners = await ask(client, SECRET, assistant="travel-help")
    async with member(open_client, engine) as other:
        theirs = await ask(other, SECRET, assistant="travel-help")
        shown = (await other.get(f"{PATH}/travel-help")).json()
    assert "81,000" in owners["answer"]
    assert "81,000" not in str(theirs)
    assert theirs["citations"] == []
    assert shown["kbs"] == ["team"]  # one that may not be read is not named


async def test_an_assistant_answers_from_its_knowledge_bases_alone(client) -> None:
    await make(client, kbs=["team"])
    answer = await ask(client, SECRET, assistant="travel-help")
    elsewhere = await client.post(
        "/api/v1/ask", json={"question": SECRET, "assistant": "travel-help", "kb": "board"}
    )
    assert "81,000" not in str(answer)
    assert elsewhere.status_code == 404


async def test_an_assistant_whose_knowledge_bases_are_gone_does_not_answer_from_all_others(
    client, engine: Engine
) -> None:
    owner = await engine.people.owner()
    await engine.knowledge_bases.create(owner, "gone")
    await make(client, kbs=["gone"])
    async with engine.db.write() as session:
        await session.execute(delete(KnowledgeBase).where(KnowledgeBase.name == "gone"))
    answer = await ask(client, assistant="travel-help")
    renamed = await client.patch(f"{PATH}/travel-help", json={"description": "empty"})
    assert answer["citations"] == []
    assert "240" not in answer["answer"]
    assert (renamed.status_code, renamed.json()["kbs"]) == (200, [])


async def test_an_assistant_for_some_is_absent_for_others(
    client, open_client: OpenClient, engine: Engine
) -> None:
    owner = await engine.people.owner()
    await make(client, visible_to=[f"user:{owner.user_id}"])
    async with member(open_client, engine) as other:
        shown = await other.get(f"{PATH}/travel-help")
        asked = await other.post(
            "/api/v1/ask", json={"question": QUESTION, "assistant": "travel-help"}
        )
        absent = await other.get(f"{PATH}/nowhere")
        listed = (await other.get(PATH)).json()["assistants"]
    assert (shown.status_code, asked.status_code, listed) == (404, 404, [])
    assert shown.json()["detail"].replace("travel-help", "nowhere") == absent.json()["detail"]


async def test_only_its_owner_or_an_admin_changes_an_assistant(client, engine: Engine) -> None:
    await make(client)
    owner = await engine.people.owner()
    added = await engine.people.add_member(owner, email="cu@example.com", role=Role.CURATOR)
    curator = await engine.people.act_as(owner, added.user_id)
    assert (await engine.assistants.get(curator, "travel-help")).may_edit is False
    for refused in (
        engine.assistants.update(curator, "travel-help", {"prompt": "x"}),
        engine.assistants.remove(curator, "travel-help"),
    ):
        with pytest.raises(Forbidden):
            await refused
    own = await engine.assistants.create(curator, {"name": "Mine", "visible_to": []})
    changed = await engine.assistants.update(owner, own.id, {"kbs": ["team", "board"]})
    mine = await engine.assistants.update(curator, own.id, {"kbs": ["team"]})
    assert changed.profile.kbs == ["board", "team"]
    # What the curator may not see stays, and is still not named.
    assert mine.profile.kbs == ["team"]
    assert (await engine.assistants.get(owner, own.id)).profile.kbs == ["board", "team"]


async def test_a_conversation_is_continued_by_its_assistant(client, engine: Engine) -> None:
    engine.answers._asker._model = model = ListeningModel(WRITTEN, WRITTEN, WRITTEN)
    await make(client, prompt="Answer like a pirate.")
    begun = await client.post("/api/v1/conversations", json={"assistant": "travel-help"})
    id_ = begun.json()["id"]
    await ask(client, conversation_id=id_)
    other = await ask(client, assistant="travel-help")
    await ask(client, "How many hours of leave?", conversation_id=other["conversation_id"])
    assert begun.json()["assistant"] == "travel-help"
    assert ["pirate" in said for said in model.systems] == [True, True, True]
    await client.delete(f"{PATH}/travel-help")
    ended = await client.post("/api/v1/ask", json={"question": QUESTION, "conversation_id": id_})
    assert ended.status_code == 404
    assert "start another conversation" in ended.json()["detail"]
    read = await client.get(f"/api/v1/conversations/{id_}")
    assert (read.status_code, read.json()["assistant"]) == (200, "")


async def test_an_assistant_without_memory_reads_a_follow_up_alone(client, engine: Engine) -> None:
    engine.answers._asker._model = model = ListeningModel(*[WRITTEN] * 4)
    await make(client, memory_turns=0)
    first = await ask(client, assistant="travel-help")
    await ask(client, "And what of hotels?", conversation_id=first["conversation_id"])
    assert len(model.prompts) == 2  # nothing was rewritten
    assert "earlier in this conversation" not in model.prompts[1]


async def test_an_assistant_says_its_own_words_where_nothing_answers(client) -> None:
    await make(client, empty_answer="Please ask the travel desk.", confidence_threshold=0.99)
    answer = await ask(client, "Who won the chess game on Mars?", assistant="travel-help")
    assert answer["answer"] == "Please ask the travel desk."
    assert (answer["grounded"], answer["outcome"]) == (False, "not_found")


async def test_an_assistant_without_citations_shows_none_and_keeps_its_sources(client) -> None:
    await make(client, citations=False)
    plain = await ask(client)
    answer = await ask(client, assistant="travel-help")
    shown = (await client.get(f"/api/v1/conversations/{answer['conversation_id']}")).json()
    assert "[1]" in plain["answer"]
    assert answer["answer"] == "You can request up to 240 hours of advanced sick leave."
    assert (answer["citations"], answer["grounded"]) == ([], True)
    assert shown["turns"][0]["answer"] == answer["answer"]
    async with client.stream(
        "POST",
        "/api/v1/ask",
        json={"question": QUESTION, "assistant": "travel-help"},
        headers={"Accept": "text/event-stream"},
    ) as response:
        streamed = "".join([piece async for piece in response.aiter_text()])
    assert "240 hours" in streamed
    assert "[1]" not in streamed


async def test_an_openai_client_asks_an_assistant_as_a_model(
    client, open_client: OpenClient, engine: Engine
) -> None:
    await make(client, citations=False, kbs=["team"])
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as http:
        named = openai.AsyncOpenAI(
            base_url="http://127.0.0.1:7337/v1",
            api_key=await make_token(engine),
            http_client=http,
            max_retries=0,
        )
        models = [item.id async for item in named.models.list()]
        made = await named.chat.completions.create(
            model="assistant:travel-help", messages=[{"role": "user", "content": QUESTION}]
        )
        with pytest.raises(openai.NotFoundError):
            await named.chat.completions.create(
                model="assistant:nowhere", messages=[{"role": "user", "content": QUESTION}]
            )
    assert "assistant:travel-help" in models
    assert made.choices[0].message.content == (
        "You can request up to 240 hours of advanced sick leave."
    )


async def test_a_search_app_searches_with_its_stored_settings(
    client, open_client: OpenClient, engine: Engine
) -> None:
    apps = "/api/v1/search_apps"
    made = await client.post(
        apps, json={"name": "Leave", "kbs": ["team", "board"], "mode": "keyword", "top_k": 1}
    )
    found = await client.post(f"{apps}/leave/search", json={"query": "hotels salary leave"})
    await client.patch(f"{apps}/leave", json={"top_k": 4})
    more = await client.post(f"{apps}/leave/search", json={"query": "hotels salary leave"})
    async with member(open_client, engine) as other:
        theirs = await other.post(f"{apps}/leave/search", json={"query": "salary hotels"})
    hidden = await client.get(f"{PATH}/leave")
    assert made.status_code == 201, made.text
    assert "prompt" not in made.json()
    assert len(found.json()["hits"]) == 1
    assert len(more.json()["hits"]) == 3
    assert {hit["title"] for hit in theirs.json()["hits"]} == {"Hotels"}
    assert hidden.status_code == 404  # it is no assistant


async def test_the_console_makes_changes_and_deletes_an_assistant(client) -> None:
    made = await client.post(
        "/console/assistants/assistant", data={"name": "Travel help"}, headers=FORM
    )
    page = made.headers["location"]
    shown = await client.get(page, headers=HTML)
    saved = await client.post(
        page,
        data={"version": "1", "prompt": "Be brief.", "kbs": "team", "citations": "off"},
        headers=FORM,
    )
    late = await client.post(page, data={"version": "1", "prompt": "Be long."}, headers=FORM)
    front = await client.get("/", params={"assistant": "travel-help"}, headers=HTML)
    wrong = await client.post(f"{page}/delete", data={"name": "Travel"}, headers=FORM)
    gone = await client.post(f"{page}/delete", data={"name": "Travel help"}, headers=FORM)
    assert (made.status_code, saved.status_code, late.status_code) == (303, 303, 409)
    assert "Travel help" in shown.text
    assert '<option value="travel-help" selected>' in front.text
    assert (wrong.status_code, gone.status_code) == (422, 303)
    assert (await client.get(PATH)).json()["assistants"] == []


async def test_a_question_on_the_page_is_answered_by_the_chosen_assistant(client) -> None:
    await make(client, citations=False)
    asked = await client.post(
        "/ask", data={"q": QUESTION, "assistant": "travel-help"}, headers=FORM
    )
    id_ = asked.headers["location"].split("/")[-1].partition("?")[0]
    shown = (await client.get(f"/api/v1/conversations/{id_}")).json()
    assert shown["assistant"] == "travel-help"


async def test_a_conversation_is_exported_as_markdown_and_as_json(
    client, open_client: OpenClient, engine: Engine
) -> None:
    answer = await ask(client)
    path = f"/api/v1/conversations/{answer['conversation_id']}/export"
    text = await client.get(path)
    data = await client.get(path, params={"format": "json"})
    async with member(open_client, engine) as other:
        theirs = await other.get(path)
    assert text.headers["content-type"].startswith("text/markdown")
    assert text.text.startswith(f"# {QUESTION}\n\n## {QUESTION}\n\n{answer['answer']}")
    assert "1. Sick leave: " in text.text
    assert 'filename="how-many-hours' in text.headers["content-disposition"]
    assert data.json()["turns"][0]["citations"] == answer["citations"]
    assert theirs.status_code == 404


async def test_a_key_that_is_bound_to_an_assistant_asks_it_and_nothing_else(
    client, open_client: OpenClient, engine: Engine
) -> None:
    await make(client, kbs=["team"])
    await make(client, "Other")
    owner = await engine.people.owner()
    secret, _ = await engine.people.create_token(
        owner, "bound", scopes=[Scope.KB_READ, Scope.KB_ASK], assistants=["travel-help"]
    )
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as bound:
        bound.headers["Authorization"] = f"Bearer {secret}"
        answer = await ask(bound, assistant="travel-help")
        models = (await bound.get("/v1/models")).json()["data"]
        refused = [
            await bound.post("/api/v1/ask", json={"question": QUESTION, "assistant": "other"}),
            await bound.post("/api/v1/ask", json={"question": QUESTION, "assistant": "nowhere"}),
            await bound.post("/api/v1/ask", json={"question": QUESTION}),
            await bound.post(
                "/api/v1/ask",
                json={"question": QUESTION, "conversation_id": answer["conversation_id"]},
            ),
            await bound.post("/api/v1/search", json={"query": "salary"}),
            await bound.get(f"{PATH}/travel-help"),
        ]
    assert "240 hours" in answer["answer"]
    assert [item["id"] for item in models] == ["assistant:travel-help"]
    assert [item.status_code for item in refused] == [404, 404, 403, 403, 403, 403]
    assert refused[0].json()["detail"].replace("other", "nowhere") == refused[1].json()["detail"]


async def test_a_bound_key_continues_only_what_its_assistant_began(
    client, open_client: OpenClient, engine: Engine
) -> None:
    await make(client, kbs=["team"])
    secret, _ = await engine.people.create_token(
        await engine.people.owner(), "bound", scopes=[Scope.KB_ASK], assistants=["travel-help"]
    )
    plain = await ask(client)
    async with open_client(peer="10.0.0.8", host="0.0.0.0") as bound:
        bound.headers["Authorization"] = f"Bearer {secret}"

        async def go_on(conversation_id: str) -> httpx2.Response:
            body = {"question": "And in days?", "assistant": "travel-help"}
            return await bound.post("/api/v1/ask", json=body | {"conversation_id": conversation_id})

        own = await ask(bound, assistant="travel-help")
        assert (await go_on(own["conversation_id"])).status_code == 200
        others = await go_on(plain["conversation_id"])
        unknown = await go_on("0" * 32)
    assert (others.status_code, unknown.status_code) == (404, 404)
    assert others.json()["detail"] == unknown.json()["detail"].replace(
        "0" * 32, plain["conversation_id"]
    )
