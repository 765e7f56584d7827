"""The tables. SQL is the truth: about what is visible, what is queued and what happened.

One module for each room of `engine/`. Import tables from this package and not from its modules,
so that the metadata is complete. Foreign keys name tables as text: the modules import only `base`.
Ids are UUIDv7 text, times aware UTC, relationships `lazy="raise"`. Every table but `user`,
`worker`, `setting` and `ephemeral` names its tenant. Every change goes through Alembic
(`migrations/`).
Column comments here say only what the name can't.
"""

from __future__ import annotations

from engine.db.tables.access import Acl, AclToken, KbGrant
from engine.db.tables.answers import Conversation, Feedback, Turn
from engine.db.tables.assistants import Assistant, AssistantGrant, AssistantKb, Widget
from engine.db.tables.base import Base, Id, Json, UtcDateTime, id_column, tenant_column
from engine.db.tables.chats import (
    Channel,
    ChannelMember,
    Installation,
    Message,
    MessageSpan,
    Post,
    Thread,
    Workspace,
)
from engine.db.tables.documents import (
    Chunk,
    ComponentOutput,
    Document,
    KnowledgeBase,
    Live,
    Revision,
    RevisionText,
)
from engine.db.tables.events import Event
from engine.db.tables.files import FileDocument, FileEntry, FileGrant
from engine.db.tables.flow import (
    Flow,
    FlowVersion,
    Run,
    RunEffect,
    RunEvent,
    RunNode,
    RunPause,
    Trigger,
    WorkflowSecret,
)
from engine.db.tables.insight import CountedDay, GapMark, MetricDay
from engine.db.tables.jobs import Job, Worker
from engine.db.tables.limits import Ephemeral
from engine.db.tables.models import Embedding
from engine.db.tables.operations import AuditEvent, AuditHead, IndexPlacement, Setting, ToolCall
from engine.db.tables.people import (
    ApiToken,
    Factor,
    Identity,
    Invitation,
    Membership,
    OidcProvider,
    OneTimeLink,
    Passkey,
    PasskeyChallenge,
    RecoveryCode,
    SignInAttempt,
    Tenant,
    User,
    UserGroup,
    UserGroupMember,
    UserSession,
)
from engine.db.tables.scim import ScimClient, ScimResource
from engine.db.tables.search import QueryLog
from engine.db.tables.sources import (
    AccessEdge,
    AccessNode,
    Credential,
    Source,
    SourceContainer,
    SourceItem,
    SourceScope,
    SyncRun,
)
from engine.db.tables.usage import CreditAccount, LedgerEntry, Quota, TenantLlm

__all__ = [
    "AccessEdge",
    "AccessNode",
    "Acl",
    "AclToken",
    "ApiToken",
    "Assistant",
    "AssistantGrant",
    "AssistantKb",
    "AuditEvent",
    "AuditHead",
    "Base",
    "Channel",
    "ChannelMember",
    "Chunk",
    "ComponentOutput",
    "Conversation",
    "CountedDay",
    "Credential",
    "CreditAccount",
    "Document",
    "Embedding",
    "Ephemeral",
    "Event",
    "Factor",
    "Feedback",
    "FileDocument",
    "FileEntry",
    "FileGrant",
    "Flow",
    "FlowVersion",
    "GapMark",
    "Id",
    "Identity",
    "IndexPlacement",
    "Installation",
    "Invitation",
    "Job",
    "Json",
    "KbGrant",
    "KnowledgeBase",
    "LedgerEntry",
    "Live",
    "Membership",
    "Message",
    "MessageSpan",
    "MetricDay",
    "OidcProvider",
    "OneTimeLink",
    "Passkey",
    "PasskeyChallenge",
    "Post",
    "QueryLog",
    "Quota",
    "RecoveryCode",
    "Revision",
    "RevisionText",
    "Run",
    "RunEffect",
    "RunEvent",
    "RunNode",
    "RunPause",
    "ScimClient",
    "ScimResource",
    "Setting",
    "SignInAttempt",
    "Source",
    "SourceContainer",
    "SourceItem",
    "SourceScope",
    "SyncRun",
    "Tenant",
    "TenantLlm",
    "Thread",
    "ToolCall",
    "Trigger",
    "Turn",
    "User",
    "UserGroup",
    "UserGroupMember",
    "UserSession",
    "UtcDateTime",
    "Widget",
    "Worker",
    "WorkflowSecret",
    "Workspace",
    "id_column",
    "tenant_column",
]
