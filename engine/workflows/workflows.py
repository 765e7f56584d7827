"""Workflows: their drafts and versions, their runs, and questions to people. `Engine.workflows`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from engine.access import gate
from engine.db.session import Database
from engine.documents.knowledge_bases import KnowledgeBases
from engine.domain import Audience, Principal, Scope
from engine.errors import Unavailable
from engine.flow.graph import Graph
from engine.flow.store import ENDED, RunState
from engine.jobs.leases import ClaimedJob
from engine.mail.mail import Mail
from engine.models.port import Embedder, LanguageModel
from engine.search.retrieval import Retriever
from engine.secrets import Secrets
from engine.tools.plugin_manager import PluginManager
from engine.workflows import (
    definitions,
    drafts,
    pauses,
    running,
    runs,
    sandbox,
    stored_secrets,
    triggers,
)
from engine.workflows.budget import RunBudget
from engine.workflows.children import WorkflowChildren
from engine.workflows.component import ModelOf, WorkflowServices
from engine.workflows.components.begin import all_fields, check_fields
from engine.workflows.definitions import VersionInfo, WorkflowInfo
from engine.workflows.described import describe_components
from engine.workflows.drafts import RunRow, SavedDraft, WorkflowRow
from engine.workflows.loading import begin_of, effects_of, input_schema, load_workflow
from engine.workflows.run_secrets import secrets_of
from engine.workflows.runs import EventInfo, PauseInfo, RunInfo
from engine.workflows.stored_secrets import SecretInfo
from engine.workflows.triggers import NewTrigger, TriggerInfo

POLL_S = 0.2  # how soon somebody who waits notices what another process did


class Workflows:
    """The verbs of workflows."""

    def __init__(
        self,
        db: Database,
        *,
        retriever: Retriever,
        knowledge_bases: KnowledgeBases,
        embedder: Embedder,
        model: LanguageModel | None,
        model_of: ModelOf | None = None,
        allow_private_urls: bool = False,
        secrets: Secrets | None = None,
        mail: Mail | None = None,
        tools: PluginManager | None = None,
    ) -> None:
        self._db = db
        self._services = WorkflowServices(
            db=db,
            retriever=retriever,
            embedder=embedder,
            model=model,
            model_of=model_of,
            allow_private_urls=allow_private_urls,
            kb_ids=knowledge_bases.ids,
            secrets=secrets,
            mail=mail,
            tools=tools,
            children=WorkflowChildren(db, self.load),
        )

    # Definitions

    def load(self, dsl: str) -> Graph:
        """The graph of a text; `FlowError` with every fault."""
        offers = {"language_model"} if self._services.model is not None else set()
        if sandbox.is_installed():
            offers.add("workflows_extra")
        return load_workflow(dsl, offers=offers)

    def _check(self, dsl: str) -> frozenset[str]:
        return effects_of(self.load(dsl))

    def load_to_draw(self, dsl: str) -> Graph:
        """The same, also of a workflow that needs a missing model: it is only drawn."""
        return load_workflow(dsl)

    def describe_components(self) -> list[dict[str, Any]]:
        """Each component: its effect, what it needs, writes and can be set to."""
        return describe_components()

    async def list_all(self, principal: Principal) -> list[WorkflowInfo]:
        """Those that may be run, and for who may edit them the drafts."""
        return await self._db.run_read(lambda s: definitions.list_workflows(s, principal))

    async def get(self, principal: Principal, ref: str) -> WorkflowInfo:
        """One by name or id; `NotFound` names those there are."""
        return await self._db.run_read(lambda s: definitions.get_workflow(s, principal, ref))

    async def create(
        self, principal: Principal, name: str, dsl: str, *, description: str = ""
    ) -> WorkflowInfo:
        """A new draft."""
        return await self._db.run_write(
            lambda s: definitions.create_workflow(
                s, principal, name, dsl, check=self._check, description=description
            )
        )

    async def save(
        self,
        principal: Principal,
        ref: str,
        dsl: str,
        *,
        rev: int,
        description: str | None = None,
    ) -> WorkflowInfo:
        """Replace the draft of revision `rev`; `StaleDraft` where it is another by now."""
        return await self._db.run_write(
            lambda s: definitions.save_workflow(
                s, principal, ref, dsl, rev=rev, check=self._check, description=description
            )
        )

    def faults_of(self, dsl: str) -> list[str]:
        """Everything that is wrong with a text; nothing for one that may run."""
        return drafts.faults_of(self._check, dsl)

    async def overview(self, principal: Principal) -> list[WorkflowRow]:
        """What may be run or edited, each with its owner and the principal's last run."""
        return await self._db.run_read(lambda s: drafts.overview(s, principal))

    async def create_draft(
        self, principal: Principal, name: str, dsl: str, *, description: str = ""
    ) -> WorkflowInfo:
        """A new draft, which may have faults."""
        return await self._db.run_write(
            lambda s: definitions.create_workflow(
                s, principal, name, dsl, check=drafts.check_shape, description=description
            )
        )

    async def save_draft(
        self, principal: Principal, ref: str, dsl: str, *, rev: int, base: str = ""
    ) -> SavedDraft:
        """Save a draft, which may have faults, merged with what others saved since `base`.

        `StaleDraft` where both changed the same, or without `base`.
        """
        return await self._db.run_write(
            lambda s: drafts.save_draft(s, principal, ref, dsl, rev=rev, base=base)
        )

    async def publish(self, principal: Principal, ref: str, *, note: str = "") -> VersionInfo:
        """Make the draft the version that runs."""
        return await self._db.run_write(
            lambda s: definitions.publish_workflow(s, principal, ref, check=self._check, note=note)
        )

    async def delete(self, principal: Principal, ref: str) -> WorkflowInfo:
        """Forget a workflow; its past runs stay."""
        return await self._db.run_write(lambda s: definitions.delete_workflow(s, principal, ref))

    async def versions(self, principal: Principal, ref: str) -> list[VersionInfo]:
        """Every published text, newest first."""
        return await self._db.run_read(lambda s: definitions.list_versions(s, principal, ref))

    async def input_schema(
        self, principal: Principal, ref: str, *, version: str = ""
    ) -> dict[str, Any]:
        """What a run of it is started with, as JSON schema."""
        what = await self._db.run_read(
            lambda s: definitions.runnable(s, principal, ref, version=version)
        )
        return input_schema(load_workflow(what.dsl))

    # Runs

    async def start(
        self,
        principal: Principal,
        ref: str,
        inputs: Mapping[str, Any],
        *,
        audience: Audience | None = None,
        version: str = "",
        trigger: str = "",
        key: str = "",
        budget: RunBudget | None = None,
        really_send: bool = False,
    ) -> str:
        """The id of a run that a worker takes on. Wrong inputs are refused before there is one.

        Only what everyone in `audience` may read is used; without one that is the principal. A
        second start under the same `key` is the first. A draft changes nothing outside and notes
        what it would, unless an admin says `really_send`.
        """
        what = await self._db.run_read(
            lambda s: definitions.runnable(s, principal, ref, version=version)
        )
        graph = self.load(what.dsl)
        given = check_fields(all_fields(begin_of(graph).inputs), inputs)
        is_draft = version == definitions.DRAFT
        if is_draft and really_send and "write" in effects_of(graph):
            gate.require(principal, Scope.KB_ADMIN)
        names = secrets_of(graph)
        stored_secrets.require_all(
            await self._db.run_read(
                lambda s: stored_secrets.missing_secrets(s, principal.tenant_id, names)
            )
        )
        seen_by = audience or gate.audience_of_asker(principal)
        return await self._db.run_write(
            lambda s: runs.start(
                s,
                principal,
                seen_by,
                what,
                graph.text,
                given=given,
                trigger=trigger,
                key=key,
                budget=budget,
                simulates=is_draft and not really_send,
            )
        )

    async def list_runs(
        self,
        principal: Principal,
        *,
        ref: str = "",
        state: str = "",
        before: str = "",
        limit: int = 50,
    ) -> list[RunInfo]:
        """The principal's own runs, newest first."""
        flow_id = (await self.get(principal, ref)).id if ref else ""
        return await self._db.run_read(
            lambda s: runs.list_runs(
                s, principal, flow_id=flow_id, state=state, before=before, limit=limit
            )
        )

    async def find_runs(
        self,
        principal: Principal,
        *,
        ref: str = "",
        state: str = "",
        person: str = "",
        days: int = 0,
        before: str = "",
        limit: int = 50,
    ) -> list[RunRow]:
        """Runs for a list, newest first; auditors see that others ran, and not what about."""
        flow_id = (await self.get(principal, ref)).id if ref else ""
        return await self._db.run_read(
            lambda s: drafts.find_runs(
                s,
                principal,
                flow_id=flow_id,
                state=state,
                person=person,
                days=days,
                before=before,
                limit=limit,
            )
        )

    async def run_text(self, principal: Principal, run_id: str) -> tuple[str, str]:
        """The id of the workflow of one of the principal's own runs, and the text that runs."""
        return await self._db.run_read(lambda s: runs.text_that_runs(s, principal, run_id))

    async def get_run(self, principal: Principal, run_id: str) -> RunInfo:
        """One of the principal's own runs; `NotFound` for any other."""
        return await self._db.run_read(lambda s: runs.get_run(s, principal, run_id))

    async def wait(self, principal: Principal, run_id: str, *, timeout_s: float) -> RunInfo:
        """A run once it has ended or waits for a person, or as it is after `timeout_s`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            found = await self.get_run(principal, run_id)
            waits = found.state == RunState.PAUSED and any(
                pause.state == "open" for pause in found.pauses
            )
            if found.is_over or waits or asyncio.get_running_loop().time() >= deadline:
                return found
            await asyncio.sleep(POLL_S)

    async def follow(
        self, principal: Principal, run_id: str, *, after: int = 0
    ) -> AsyncIterator[EventInfo | None]:
        """What happens in a run behind event `after`, until it has ended; None now and then."""
        while True:
            found = await self.get_run(principal, run_id)
            while some := await self._db.run_read(
                lambda s, seen=after: runs.read_events(s, principal, run_id, after=seen)  # type: ignore[misc]
            ):
                for item in some:
                    after = item.seq
                    yield item
            if found.state in ENDED:
                return
            yield None
            await asyncio.sleep(POLL_S)

    async def cancel(self, principal: Principal, run_id: str) -> str:
        """Stop one of the principal's own runs; the state it then has."""
        return await self._db.run_write(lambda s: runs.cancel_run(s, principal, run_id))

    # Questions to people

    async def list_questions(self, principal: Principal) -> list[PauseInfo]:
        """The questions of runs that wait for this principal's reply."""
        return await self._db.run_read(lambda s: pauses.list_open(s, principal))

    async def reply(
        self,
        principal: Principal,
        run_id: str,
        *,
        path: str = "",
        fields: Mapping[str, Any] | None = None,
        choice: str = "",
    ) -> PauseInfo:
        """Answer a question of a run; taken once."""
        return await self._db.run_write(
            lambda s: pauses.reply(s, principal, run_id, path=path, fields=fields, choice=choice)
        )

    # Secrets that workflows use by name

    async def set_secret(
        self,
        principal: Principal,
        name: str,
        *,
        value: str | None = None,
        hosts: Sequence[str] | None = None,
    ) -> SecretInfo:
        """Add a secret, or change its value or the hosts it may be sent to."""
        return await self._db.run_write(
            lambda s: stored_secrets.set_secret(
                s, principal, self._sealer, name, value=value, hosts=hosts
            )
        )

    async def list_secrets(self, principal: Principal) -> list[SecretInfo]:
        """The tenant's secrets, without their values."""
        return await self._db.run_read(lambda s: stored_secrets.list_secrets(s, principal))

    async def remove_secret(self, principal: Principal, name: str) -> None:
        """Forget a secret."""
        await self._db.run_write(lambda s: stored_secrets.remove_secret(s, principal, name))

    @property
    def _sealer(self) -> Secrets:
        found = self._services.secrets
        if found is None:
            raise Unavailable("This installation has no key for secrets: set system.secret_key.")
        return found

    # What starts runs by itself

    async def add_trigger(self, principal: Principal, ref: str, new: NewTrigger) -> TriggerInfo:
        """A new schedule of a published workflow."""
        return await self._db.run_write(
            lambda s: triggers.add(s, principal, ref, new, load=self.load)
        )

    async def list_triggers(self, principal: Principal, ref: str = "") -> list[TriggerInfo]:
        """The tenant's triggers, or those of one workflow."""
        return await self._db.run_read(lambda s: triggers.list_all(s, principal, ref))

    async def set_trigger(
        self, principal: Principal, trigger_id: str, *, active: bool
    ) -> TriggerInfo:
        """Pause a trigger, or let it work again."""
        return await self._db.run_write(
            lambda s: triggers.set_active(s, principal, trigger_id, active=active)
        )

    async def remove_trigger(self, principal: Principal, trigger_id: str) -> TriggerInfo:
        """Forget a trigger; its runs stay."""
        return await self._db.run_write(lambda s: triggers.remove(s, principal, trigger_id))

    # For workers

    async def fire(self, job: ClaimedJob) -> None:
        """Begin the run that a trigger is due for, and end the job with it."""
        await self._db.run_write(lambda s: triggers.fire(s, job, load=self.load))

    async def execute(self, job: ClaimedJob) -> bool:
        """Execute the run of a claimed job; whether the job is finished with it."""
        return await running.execute(self._services, job)
