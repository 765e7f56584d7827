"""What leaves the REST API, as types: `api/openapi.py` describes it with them, tests hold it to them.

`engine/serializers.py` builds most of it. Fields are a promise: add, never rename or remove.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from engine.chats.coverage import Coverage
from engine.chats.feedback import Rated
from engine.documents.kb_grants import GrantInfo
from engine.documents.pipelines import FlowInfo
from engine.domain import Outcome, Role, ScoreParts, SearchMode
from engine.insight.gaps import QuestionGap
from engine.operations.process_usage import ProcessUsage
from engine.people.api_tokens import TokenInfo
from engine.people.groups import GroupInfo
from engine.people.members import MemberInfo
from engine.people.passkeys import PasskeyInfo
from engine.people.sessions import SessionInfo
from engine.sources.contract import Finding
from engine.sources.credentials import CredentialInfo
from engine.sources.reports import LeftOutItem, SourceInfo, SyncInfo
from engine.sources.sources import KindInfo, PreviewItem
from engine.workflows.definitions import VersionInfo
from engine.workflows.runs import PauseInfo, RunInfo
from engine.workflows.triggers import TriggerInfo

State = Literal["pending", "running", "ready", "failed", "cancelled"]
VectorState = Literal["none", "partial", "complete"]


class FieldFault(TypedDict):
    """A field of a request and what is wrong with it."""

    field: str
    message: str


class ProblemReply(TypedDict):
    """An error, as RFC 9457 has it; `code` is for programs, `correlation_id` is in the log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    correlation_id: str
    field: NotRequired[str]
    errors: NotRequired[list[FieldFault]]


# Finding and answering


class HitReply(TypedDict):
    """A document that was found, with its best passage."""

    id: str
    document_id: str
    title: str
    url: str
    where: str
    text: str
    score: float
    confidence: float
    scores: ScoreParts
    knowledge_base: NotRequired[str]
    source: NotRequired[str]
    author: NotRequired[str]
    updated_at: NotRequired[str]
    tags: NotRequired[list[str]]
    metadata: NotRequired[dict[str, Any]]


class QueryStepReply(TypedDict):
    """Something a query was read as: `said` in it means `read`."""

    kind: Literal["spelling", "acronym", "filter", "follow_up"]
    said: str
    read: str


class SearchReply(TypedDict):
    """The hits of a search, best first; `searched` is what the query was read as, if not as typed."""

    hits: list[HitReply]
    notice: str
    searched: str
    steps: list[QueryStepReply]


class CitationReply(TypedDict):
    """A quote that an answer rests on."""

    n: int
    id: str
    document_id: str
    title: str
    url: str
    where: str
    quote: str
    author: NotRequired[str]
    posted_at: NotRequired[str]


class AnswerReply(TypedDict):
    """An answer with its citations."""

    answer: str
    grounded: bool
    outcome: Outcome
    confidence: float
    citations: list[CitationReply]
    conversation_id: str
    searched: str
    steps: list[QueryStepReply]
    choices: list[str]


class PageReply(TypedDict):
    """A page of a document's text."""

    id: str
    document_id: str
    title: str
    url: str
    where: str
    text: str
    knowledge_base: str
    updated_at: str
    next_id: str
    prev_id: str
    changed: bool


class ConversationReply(TypedDict):
    """A conversation."""

    id: str
    name: str
    door: str
    turn_count: int
    created_at: str
    updated_at: str
    assistant: str


class TurnReply(AnswerReply):
    """A question and its answer."""

    id: str
    question: str
    readable: bool
    model: str
    prompt: str
    input_tokens: int
    output_tokens: int
    took_ms: float
    created_at: str


class ConversationTurnsReply(ConversationReply):
    """A conversation with its turns, oldest first."""

    turns: list[TurnReply]


class ConversationsReply(TypedDict):
    """Conversations, newest first."""

    conversations: list[ConversationReply]
    next_cursor: str


# Assistants and search apps


class SearchAppReply(TypedDict):
    """A search app; null: all that may be read, or as each knowledge base says."""

    id: str
    name: str
    slug: str
    description: str
    kbs: list[str] | None
    mode: SearchMode | None
    alpha: float | None
    top_k: int | None
    confidence_threshold: float | None
    recency_days: float | None
    rerank: bool | None
    visible_to: list[str]
    owner: str
    may_edit: bool
    version: int
    created_at: str
    updated_at: str


class SearchAppsReply(TypedDict):
    """Search apps, by name."""

    search_apps: list[SearchAppReply]


class AssistantReply(SearchAppReply):
    """An assistant."""

    opener: str
    examples: list[str]
    prompt: str
    model: str
    temperature: float | None
    max_tokens: int | None
    empty_answer: str
    citations: bool
    memory_turns: int
    language: str


class AssistantsReply(TypedDict):
    """Assistants, by name."""

    assistants: list[AssistantReply]


class WidgetReply(TypedDict):
    """An assistant on pages of other sites; `tag` is what they carry."""

    id: str
    assistant: str
    readers: str
    key: str
    origins: list[str]
    created_at: str
    tag: str


class WidgetsReply(TypedDict):
    """Widgets, oldest first."""

    widgets: list[WidgetReply]


# Knowledge bases and documents


class KnowledgeBaseReply(TypedDict):
    """A knowledge base."""

    id: str
    name: str
    description: str
    documents: int
    updated_at: str
    supported_formats: list[str]


class KnowledgeBasesReply(TypedDict):
    """Knowledge bases, by name."""

    knowledge_bases: list[KnowledgeBaseReply]


class NewKnowledgeBaseReply(KnowledgeBaseReply):
    """A new knowledge base; `knowledge_base_id` is its `id`."""

    knowledge_base_id: str


class StatsReply(TypedDict):
    """How much is in a knowledge base; `index_size` is in bytes, of its whole embedding space."""

    id: str
    name: str
    document_count: int
    chunk_count: int
    token_count: int
    index_size: int
    last_updated: str
    states: dict[str, int]
    without_vectors: int
    space: str
    next_space: str
    moved: int


class GapsReply(TypedDict):
    """Questions without a good answer, gathered by what they mean."""

    gaps: list[QuestionGap]


class ProcessesReply(TypedDict):
    """The server and its live workers, with what each takes of its machine."""

    processes: list[ProcessUsage]


class QueuedReply(TypedDict):
    """The documents that are ingested again, by id."""

    documents: list[str]


class SearchSettingsReply(TypedDict):
    """How a knowledge base is searched, where it says so itself."""

    id: str
    search: dict[str, Any]


class DocumentReply(TypedDict):
    """A document and its state."""

    id: str
    title: str
    state: State
    vectors: VectorState
    error: str
    hidden: bool
    chunks_created: int
    tags: list[str]
    metadata: dict[str, Any]
    features: dict[str, float]


class DocumentDetailsReply(DocumentReply):
    """A document, its state explained, and how it was uploaded."""

    progress: float
    message: str
    upload_options: dict[str, Any]


class DocumentsReply(TypedDict):
    """Documents, newest first."""

    documents: list[DocumentReply]
    next_cursor: str


class AddedDocument(TypedDict):
    """A file that was accepted; `unchanged` where it is there already."""

    id: str
    title: str
    state: State
    job_id: str | None
    unchanged: bool
    chunks_created: int


class AddedReply(TypedDict):
    """What became of each file, in the order sent."""

    documents: list[AddedDocument]


class AddedPageReply(TypedDict):
    """A document that is to be ingested; `unchanged` where its content is there already."""

    id: str
    state: State
    job_id: str | None
    unchanged: bool


class HiddenReply(TypedDict):
    """A passage that is hidden, or shown again."""

    id: str
    hidden: bool


class KbStatusReply(TypedDict):
    """Counts of a knowledge base."""

    id: str
    name: str
    documents: int
    chunks: int
    states: dict[str, int]
    without_vectors: int
    updated_at: str


class StatusReply(TypedDict):
    """What is stored and what is on its way."""

    knowledge_bases: list[KbStatusReply]
    jobs: dict[str, dict[str, int]]
    workers: int
    waiting: int


class DeletedReply(TypedDict):
    """What was deleted, by its id."""

    deleted: bool
    id: str


# People


class TokensReply(TypedDict):
    """API tokens without their secrets."""

    tokens: list[TokenInfo]


class NewTokenReply(TypedDict):
    """A new API token; `token` is its secret, in this response alone."""

    id: str
    name: str
    prefix: str
    token: str


class PasskeysReply(TypedDict):
    """The caller's passkeys, the oldest first."""

    passkeys: list[PasskeyInfo]


class PasskeyOptionsReply(TypedDict):
    """What a browser's `navigator.credentials` takes, binary values as base64url."""

    options: dict[str, Any]


class MembersReply(TypedDict):
    """Members, by name."""

    members: list[MemberInfo]


class LinkReply(TypedDict):
    """A link that works once; `expires_in` is in seconds."""

    url: str
    expires_in: int


class UnlinkedReply(TypedDict):
    """How many accounts of identity providers were forgotten."""

    user_id: str
    unlinked: int


class RemovedReply(TypedDict):
    """What was removed."""

    removed: str | bool


class GroupsReply(TypedDict):
    """Groups, by name."""

    groups: list[GroupInfo]


class GroupMember(TypedDict):
    """A member of a group."""

    user_id: str
    name: str


class GroupMembersReply(TypedDict):
    """The members of a group."""

    members: list[GroupMember]


class AddedMemberReply(TypedDict):
    """Who was put into a group."""

    added: str


class DeletedGroupReply(TypedDict):
    """The name of the group that was deleted."""

    deleted: str


class GrantsReply(TypedDict):
    """Who a knowledge base is granted to."""

    grants: list[GrantInfo]


class GrantedReply(TypedDict):
    """A grant that was made."""

    granted: str
    level: str


class RevokedReply(TypedDict):
    """A grant that was taken back."""

    revoked: str


class OwnerReply(TypedDict):
    """The owner of a knowledge base."""

    owner: str


class ChangeRow(TypedDict):
    """A change that somebody made."""

    at: str
    actor: str
    action: str
    detail: dict[str, Any]


class AuditReply(TypedDict):
    """Changes, newest first."""

    changes: list[ChangeRow]


class VerificationReply(TypedDict):
    """Whether the audit log is whole: no `faults`."""

    rows: int
    faults: list[str]


class SignedInReply(TypedDict):
    """Tokens of a session; times are in seconds."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: str
    user_id: str
    tenant_id: str


class UserReply(TypedDict):
    """Who the caller is."""

    id: str | None
    name: str
    role: str
    tenant_id: str
    scopes: list[str]
    session_id: str | None
    api_token_id: str | None


class NewAppReply(TypedDict):
    """The secret of a new authenticator app."""

    secret: str
    url: str


class RecoveryCodesReply(TypedDict):
    """Recovery codes, shown this once."""

    recovery_codes: list[str]


class EndedReply(TypedDict):
    """How many sessions ended."""

    ended: int


class PasswordReply(TypedDict):
    """Another password; how many other sessions ended."""

    changed: bool
    ended: int


class SessionsReply(TypedDict):
    """The caller's sessions."""

    sessions: list[SessionInfo]


class HealthReply(TypedDict):
    """Whether this server is well; `failing` names what is not."""

    status: Literal["ok", "unavailable"]
    failing: NotRequired[list[str]]


# Pipelines, sources, administration


class PipelinesReply(TypedDict):
    """Pipelines, the templates first."""

    pipelines: list[FlowInfo]


class ValidationReply(TypedDict):
    """Whether a pipeline is sound: its `faults`, or its steps in order."""

    sound: bool
    faults: list[str]
    steps: list[str]


class DeletedPipelineReply(TypedDict):
    """The name of the pipeline that was deleted."""

    deleted: str


class ComponentsReply(TypedDict):
    """Components of pipelines."""

    components: list[dict[str, Any]]


class ChannelsReply(TypedDict):
    """Stored channels, by name."""

    channels: list[Coverage]


class FeedbackReply(TypedDict):
    """How many answers helped, and the latest that did not."""

    helpful: int
    not_helpful: int
    latest: list[Rated]


class LimitsReply(TypedDict):
    """Limits by name; 0: none."""

    limits: dict[str, int]


class SettingReply(TypedDict):
    """A setting, and where its value comes from."""

    name: str
    value: Any
    origin: str


class SettingsReply(TypedDict):
    """Every setting of the server."""

    settings: list[SettingReply]


class HealthDetailsReply(TypedDict):
    """What is wrong with each part; empty where it is well."""

    parts: dict[str, str]


class CallReply(TypedDict):
    """A call of a tool."""

    user_id: str | None
    api_token_id: str | None
    door: str
    tool: str
    kb_ids: list[str]
    results: int
    code: str
    took_ms: float
    at: str
    text: str


class CallsReply(TypedDict):
    """Calls of tools, newest first."""

    calls: list[CallReply]


class PatternsReply(TypedDict):
    """Patterns of tools of other servers."""

    patterns: list[str]


class ToolArgumentReply(TypedDict):
    """An argument of a tool."""

    type: str
    description: str
    displayDescription: str
    required: bool


class ToolReply(TypedDict):
    """A tool of a plugin; `allowed`: answers and workflows of the organisation may use it."""

    name: str
    displayName: str
    description: str
    displayDescription: str
    parameters: dict[str, ToolArgumentReply]
    effect: str
    plugin: str
    version: str
    allowed: bool


class ToolsReply(TypedDict):
    """The tools of plugins, by name."""

    tools: list[ToolReply]


class ToolResultReply(TypedDict):
    """What a tool said."""

    text: str


class WorkspaceReply(TypedDict):
    """A workspace that a bot is installed in."""

    platform: str
    team: str
    enterprise: str
    name: str
    state: str
    reading: str


class WorkspacesReply(TypedDict):
    """Workspaces that the bots are installed in."""

    workspaces: list[WorkspaceReply]


class ParameterReply(TypedDict):
    """A parameter of a command."""

    name: str
    kind: str
    help: str
    required: bool
    choices: list[str]


class CommandInfoReply(TypedDict):
    """A command; what `destroys` has to be confirmed."""

    name: str
    help: str
    effect: Literal["reads", "changes", "destroys"]
    permission: str
    parameters: list[ParameterReply]


class CommandsReply(TypedDict):
    """The commands of a workspace."""

    commands: list[CommandInfoReply]


class CommandReply(TypedDict):
    """What a command said: Markdown, and rows by column."""

    text: str
    rows: list[dict[str, str]]
    hits: list[HitReply]


# Mail and invitations


class InvitationReply(TypedDict):
    """An open invitation; `url` is the link to hand over where no mail server carries it."""

    id: str
    email: str
    name: str
    role: Role
    groups: list[str]
    invited_by: str
    created_at: str
    expires_at: str
    mailed: bool
    url: NotRequired[str]
    expires_in: NotRequired[int]


class InvitationsReply(TypedDict):
    """Invitations that can still be accepted, the newest first."""

    invitations: list[InvitationReply]


class UninvitedReply(TypedDict):
    """The address whose invitation is worthless now."""

    revoked: str


class AcceptedReply(TypedDict):
    """What was asked for is done if it can be; the answer does not say whether."""

    accepted: bool


class AddressReply(TypedDict):
    """The e-mail address it is about."""

    email: str


class MailTestReply(TypedDict):
    """Who a test message went to, by which server."""

    sent: str
    server: str


# Identity providers


class IdentityProviderReply(TypedDict):
    """An identity provider without its secret; enter `redirect_uri` there."""

    id: str
    key: str
    kind: str
    name: str
    issuer: str
    client_id: str
    scopes: str
    api_url: str
    allowed_domains: list[str]
    allowed_tenants: list[str]
    groups_claim: str
    groups: dict[str, str]
    jit_role: Role | None
    link_by_email: bool
    redirect_uri: str
    created_at: str


class IdentityProvidersReply(TypedDict):
    """The tenant's identity providers, by key."""

    identity_providers: list[IdentityProviderReply]


class ProviderCheckReply(TypedDict):
    """What an identity provider answered."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    keys: int
    redirect_uri: str


# Workflows


class WorkflowReply(TypedDict):
    """A workflow: its revision, the version that runs, and its text (`dsl`), which lists leave out."""

    id: str
    name: str
    description: str
    is_template: bool
    rev: int
    published: int
    state: Literal["created", "published", "template"]
    updated_by: str
    updated_at: str | None
    dsl: NotRequired[str]


class WorkflowsReply(TypedDict):
    """Workflows, the tenant's own first."""

    workflows: list[WorkflowReply]


class StaleDraftReply(ProblemReply):
    """A save that was based on an older revision: both texts, and who saved the other one."""

    rev: int
    by: str
    theirs: str
    yours: str


class WorkflowVersionsReply(TypedDict):
    """The published texts of a workflow, newest first."""

    versions: list[VersionInfo]


class DeletedWorkflowReply(TypedDict):
    """The name of the workflow that was deleted."""

    deleted: str


ExecutionReply = RunInfo
QuestionReply = PauseInfo


class ExecutionsReply(TypedDict):
    """Runs, newest first."""

    executions: list[RunInfo]
    next_cursor: str


class CancelledExecutionReply(TypedDict):
    """A run that is being stopped, and its state now."""

    id: str
    state: str


class QuestionsReply(TypedDict):
    """Questions of runs that wait for a reply, oldest first."""

    questions: list[PauseInfo]


# Connected sources


class SourceKindsReply(TypedDict):
    """The kinds of sources that can be connected."""

    kinds: list[KindInfo]


class SourcesReply(TypedDict):
    """The connected sources."""

    sources: list[SourceInfo]


class ConnectedReply(TypedDict):
    """A new source, and what its check found."""

    source: SourceInfo
    findings: list[Finding]


class CredentialsReply(TypedDict):
    """The credentials of sources, without their secrets."""

    credentials: list[CredentialInfo]


class FindingsReply(TypedDict):
    """What a check found."""

    findings: list[Finding]


class PreviewReply(TypedDict):
    """What a sync would take first."""

    items: list[PreviewItem]


class LeftOutReply(TypedDict):
    """What a source has and no answer uses."""

    items: list[LeftOutItem]


class SyncsReply(TypedDict):
    """The last syncs of a source."""

    syncs: list[SyncInfo]


class RemovedSourceReply(TypedDict):
    """A source that is gone, and how many of its documents answered."""

    removed: str
    documents: int


class WorkflowTriggersReply(TypedDict):
    """Triggers, the oldest first."""

    triggers: list[TriggerInfo]
