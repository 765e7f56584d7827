"""The tree of settings: one class a section, each field with its default, its bounds and its help.

`engine/config.py` fills it from `scrubjay.toml` and the environment and says where each value came
from; adapters never see it, they get explicit arguments from `engine/runtime.py`. A setting stands
here only once something reads it. `docs/reference/settings.md` is generated from this module.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

DATABASE_SCHEMES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+psycopg")
BROKER_SCHEMES = ("redis", "rediss")


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("an address that begins with http:// or https://, or nothing")
    return value.rstrip("/")


def _database_url(value: str) -> str:
    if value and urlsplit(value).scheme not in DATABASE_SCHEMES:
        raise ValueError(
            "sqlite:///<file>, postgresql://<user>:<password>@<host>/<name>, or nothing"
        )
    return value


def _broker(value: str) -> str:
    if value != "memory" and urlsplit(value).scheme not in BROKER_SCHEMES:
        raise ValueError('"memory" or redis://<host>:<port>/<number>')
    return value


def _web_socket_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"ws", "wss"} or not parts.hostname):
        raise ValueError("ws://<host>:<port> or wss://<host>")
    return value.rstrip("/")


def _issuer(value: str) -> str:
    _http_url(value)
    return value  # a closing slash is part of an issuer's name


WebSocketUrl = Annotated[str, AfterValidator(_web_socket_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Issuer = Annotated[str, AfterValidator(_issuer)]


class Section(BaseModel):
    """One section of the tree; a key it does not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class System(Section):
    """The process as a whole."""

    debug: bool = Field(
        default=False, description="Show tracebacks with errors on the command line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe log record that is written."
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How a log record is written: for people, or one JSON object a line.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Encrypts credentials and signs links. Empty: `secret.key` in the data folder, "
        "made at the first start. Required with PostgreSQL.",
    )
    max_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Child processes that parse documents; 0: one less than the cores, at least 1. "
        "One more stands in while a file takes long.",
    )


class Database(Section):
    """Where rows live. SQL is the truth about what is visible."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(
        default="",
        repr=False,
        description="SQLAlchemy URL. Empty: SQLite in `scrubjay.db` in the data folder.",
    )
    pool_size: int = Field(default=20, ge=1, le=1000, description="Connections kept open.")
    max_overflow: int = Field(
        default=30,
        ge=0,
        le=1000,
        description="Connections opened beyond the pool when all are busy.",
    )
    pool_timeout_s: float = Field(
        default=30,
        gt=0,
        le=600,
        description="Seconds to wait for a free connection before giving up.",
    )


class Storage(Section):
    """Where the bytes of documents live."""

    type: Literal["folder", "s3"] = Field(default="folder", description="What keeps the bytes.")
    path: str = Field(default="", description="The folder. Empty: `blobs` in the data folder.")
    bucket: str = Field(default="", description="The bucket; required with s3.")
    prefix: str = Field(default="", description="What every key in the bucket begins with.")
    endpoint: HttpUrl = Field(
        default="", repr=False, description="An S3 server that is not AWS, e.g. http://minio:9000."
    )
    region: str = Field(default="us-east-1", min_length=1, description="The bucket's region.")
    access_key_id: SecretStr = Field(
        default=SecretStr(""),
        description="Key for the bucket. Empty: the role of the machine or pod.",
    )
    secret_access_key: SecretStr = Field(
        default=SecretStr(""), description="The secret that belongs to the key."
    )
    timeout_s: float = Field(
        default=60, gt=0, le=3600, description="Deadline of one call to the bucket."
    )


class Embedding(Section):
    """The model that turns text into vectors."""

    model: str = Field(
        default="minilm",
        min_length=1,
        description='"minilm" runs in this process; with `base_url`, the name the endpoint knows; '
        '"hashing" is free and only good for tests.',
    )
    base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="An OpenAI-compatible endpoint, e.g. http://127.0.0.1:11434/v1.",
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="Key for the endpoint.")
    dimension: int = Field(
        default=0,
        ge=0,
        le=8192,
        description="Length of the endpoint's vectors; required with `base_url`.",
    )
    timeout_s: float = Field(
        default=60, gt=0, le=600, description="Deadline of one call to the endpoint."
    )
    batch_tokens: int = Field(
        default=2048,
        ge=512,
        le=1_000_000,
        description="Tokens embedded in one batch, padding included.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads of the model in this process; 0: one less than the cores, at least 1.",
    )
    cache: bool = Field(
        default=True, description="Keep vectors, so that unchanged text is not embedded."
    )


class Search(Section):
    """How documents are found and ordered. A knowledge base may have its own."""

    engine: Literal["embedded", "vespa"] = Field(
        default="embedded", description="The search index: in the data folder, or a Vespa cluster."
    )
    alpha: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Weight of meaning against words: 0 words only, 1 meaning only.",
    )
    title_weight: float = Field(
        default=0.3, ge=0, le=1, description="The title's share of the score for words."
    )
    fusion: Literal["linear", "rrf"] = Field(
        default="linear", description="How the two orders become one: by score, or by rank."
    )
    candidates: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Documents each leg contributes before they are fused.",
    )
    top_k: int = Field(
        default=10, ge=1, le=1000, description="Hits of a search that names no number."
    )
    confidence_threshold: float = Field(
        default=0.0, ge=0, le=1, description="Hits less sure than this are left out."
    )
    rerank_base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="A reranker that speaks like Cohere, Jina or TEI. Empty: none.",
    )
    rerank_model: str = Field(default="", description="The name the reranker knows.")
    rerank_api_key: SecretStr = Field(default=SecretStr(""), description="Key for the reranker.")
    rerank_candidates: int = Field(
        default=30, ge=1, le=1000, description="Hits the reranker sees; the rest keep their order."
    )
    rerank_timeout_s: float = Field(
        default=5, gt=0, le=60, description="After this the search keeps its own order."
    )


class Vespa(Section):
    """The Vespa cluster, where `search.engine` is "vespa"."""

    url: HttpUrl = Field(
        default="http://127.0.0.1:8080",
        repr=False,
        description="Where documents are fed and searched: a container node or their balancer.",
    )
    config_url: HttpUrl = Field(
        default="http://127.0.0.1:19071",
        repr=False,
        description="The config server, where the application is deployed.",
    )
    hosts: str = Field(
        default="vespa",
        pattern=r"^[A-Za-z0-9.-]+( *, *[A-Za-z0-9.-]+)*$",
        description="The names the Vespa nodes call themselves, separated by commas.",
    )
    copies: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Copies of each document, on different hosts; 0: two, if there are two hosts.",
    )
    placement: Literal["auto", "dedicated", "pooled"] = Field(
        default="auto",
        description="Where a new tenant's documents go: a schema of its own while there are fewer "
        "than `max_dedicated`, always one of its own, or always one that tenants share.",
    )
    max_dedicated: int = Field(
        default=50,
        ge=0,
        le=100,
        description="Schemas of their own at most; each costs memory and threads on every node.",
    )
    cells: Literal["bfloat16", "float"] = Field(
        default="bfloat16",
        description="How numbers of new spaces' vectors are kept: bfloat16 takes half the memory.",
    )
    http2: bool = Field(
        default=True,
        description="Speak HTTP/2, without TLS too; false behind a proxy that does not.",
    )
    query_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Deadline of one search, all its queries together."
    )
    feed_timeout_s: float = Field(
        default=60, gt=0, le=600, description="Deadline of writing one part of a document."
    )
    deploy_timeout_s: float = Field(
        default=300,
        gt=0,
        le=3600,
        description="How long a new application may take to be in use on every node.",
    )
    ca_file: str = Field(
        default="",
        description="Certificates that Vespa's nodes are checked with. Empty: the system's.",
    )
    certificate_file: str = Field(
        default="", description="The certificate shown to Vespa's nodes, with those it rests on."
    )
    key_file: str = Field(
        default="", description="The key of that certificate. Empty: it is in the same file."
    )
    tls_folder: str = Field(
        default="",
        pattern=r"^$|^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$",
        description="A folder on the Vespa hosts with key.pem, cert.pem and ca.pem: containers then "
        "listen on port 8443 and take only who shows a certificate that ca.pem vouches for.",
    )


class Processing(Section):
    """How a document becomes chunks."""

    chunk_size: int = Field(
        default=256, ge=16, le=8192, description="Most tokens in a chunk, its context included."
    )
    chunk_overlap: int = Field(
        default=0, ge=0, le=4096, description="Tokens a chunk repeats of the one before it."
    )
    strategy: Literal["document_aware", "fixed", "recursive", "semantic", "sliding_window"] = Field(
        default="document_aware",
        description="Split along headings, tables and code; where the subject changes; or by length.",
    )
    max_file_size: ByteSize = Field(
        default=ByteSize(100_000_000), gt=0, description="The largest document that is taken."
    )
    parse_timeout_s: float = Field(
        default=60, gt=0, le=3600, description="Seconds a document may take to parse."
    )
    parse_memory_mb: int = Field(
        default=2048, ge=128, le=262_144, description="Memory a parser may use, in MB."
    )
    plugins: str = Field(
        default="",
        description="The folder plugins lie in, one folder each; empty: no plugins but installed "
        "packages. Their code runs with all rights of Scrubjay.",
    )
    allow_private_urls: bool = Field(
        default=False, description="Let `add` fetch addresses inside your own network."
    )


class Llm(Section):
    """The language model that writes answers. None is needed."""

    model: str = Field(
        default="",
        pattern=r"^$|^[a-z]+:.+$",
        description="`openai:<name>`, `anthropic:<name>` or `ollama:<name>`. "
        "Empty: answers are quoted from the documents.",
    )
    base_url: HttpUrl = Field(default="", repr=False, description="Another address for the model.")
    api_key: SecretStr = Field(default=SecretStr(""), description="Key for the model.")
    timeout_s: float = Field(default=60, gt=0, le=600, description="Deadline of one call.")
    max_tokens: int = Field(
        default=1024, ge=1, le=100_000, description="Longest answer, in tokens."
    )


class Server(Section):
    """The HTTP server behind `/`, `/mcp` and `/v/`."""

    host: str = Field(default="127.0.0.1", min_length=1, description="The address listened on.")
    port: int = Field(default=7337, ge=0, le=65535, description="The port; 0: any that is free.")
    public_url: HttpUrl = Field(
        default="",
        description="How others reach the server, for links. With it every call needs a token.",
    )


class Jobs(Section):
    """Durable work: who does it, how long a claim lasts, when it is given up."""

    broker: Annotated[str, AfterValidator(_broker)] = Field(
        default="memory",
        repr=False,
        description='"memory", or redis://… for workers on other machines.',
    )
    lease_s: float = Field(
        default=30,
        ge=2,
        le=3600,
        description="Seconds after which a silent worker's job is taken over.",
    )
    slots: int = Field(default=0, ge=0, le=64, description="Jobs a worker runs at once; 0: chosen.")
    max_attempts: int = Field(default=5, ge=1, le=100, description="Attempts before a job fails.")
    idle_exit_s: float = Field(
        default=20,
        ge=1,
        le=86_400,
        description="Seconds without work after which the model is freed.",
    )


class Bots(Section):
    """How much the chat bots answer. `/kb limits` changes these for one tenant."""

    questions_per_person: int = Field(
        default=10, ge=0, le=10_000, description="Questions one person may ask in five minutes."
    )
    questions_per_channel: int = Field(
        default=60, ge=0, le=100_000, description="Questions a channel may ask in five minutes."
    )
    questions_per_tenant: int = Field(
        default=600, ge=0, le=1_000_000, description="Questions a tenant may ask in five minutes."
    )
    tokens_per_day: int = Field(
        default=0,
        ge=0,
        le=10_000_000_000,
        description="Tokens of the language model a tenant may use in a day; 0: any number.",
    )
    answers_at_once: int = Field(
        default=4, ge=1, le=256, description="Questions a bot process answers at the same time."
    )
    # 65: the least at which no more foreign questions are answered than at 85 (1 in 700), with two
    # thirds of those that have an answer: benchmarks/results/chat.json, auto_mode_curve.
    auto_threshold: int = Field(
        default=65,
        ge=0,
        le=100,
        description="How sure an unasked answer has to be, in percent, where nothing else is set.",
    )


class Slack(Section):
    """The Slack bot. Its manifest and the steps: `scrubjay bot manifest` and docs/how-to/slack.md."""

    bot_token: SecretStr = Field(
        default=SecretStr(""),
        description="xoxb-…, of an app installed in one workspace, which the default tenant gets.",
    )
    app_token: SecretStr = Field(
        default=SecretStr(""),
        description="xapp-…, with connections:write: events come over Socket Mode.",
    )
    signing_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Events come over HTTP to /slack/events, signed with this.",
    )
    client_id: str = Field(
        default="", max_length=100, description="For installing into more workspaces by OAuth."
    )
    client_secret: SecretStr = Field(default=SecretStr(""), description="Belongs to client_id.")
    app: Literal["internal", "distributed"] = Field(
        default="internal",
        description="Who owns the Slack app: your organisation, or somebody who distributes it. "
        "Slack lets a distributed app keep no messages, so it answers from documents only.",
    )
    command: str = Field(
        default="/kb",
        pattern=r"^/[a-z0-9_-]{1,31}$",
        description="The slash command; another where /kb is taken.",
    )
    api_base_url: HttpUrl = Field(
        default="", repr=False, description="Another address for Slack's API, for tests."
    )
    timeout_s: float = Field(default=10, gt=0, le=120, description="Deadline of one call to Slack.")

    @property
    def is_set_up(self) -> bool:
        """Whether this says enough for the bot to hear anything."""
        heard = self.app_token.get_secret_value() or self.signing_secret.get_secret_value()
        return bool(heard or self.client_id)


class Discord(Section):
    """The Discord bot: one application, in as many servers as invite it."""

    bot_token: SecretStr = Field(
        default=SecretStr(""),
        description="The token of your application's bot; without one there is no Discord bot.",
    )
    message_content: bool = Field(
        default=True,
        description="Ask for the message content intent: history and auto mode need it. Where "
        "Discord refuses it the bot runs without, and says so.",
    )
    members: bool = Field(
        default=True,
        description="Ask for the server members intent: who may read a channel follows from roles. "
        "Where Discord refuses it, a channel that is not for everyone is answered from itself alone.",
    )
    development_server: str = Field(
        default="",
        pattern=r"^\d{0,20}$",
        description="Id of a server that gets the commands at once, and no other does.",
    )
    api_base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="Another address for Discord's REST API, as far as /api/v10, for tests.",
    )
    gateway_url: WebSocketUrl = Field(
        default="", repr=False, description="Another address for Discord's gateway, for tests."
    )
    timeout_s: float = Field(
        default=10, gt=0, le=120, description="Deadline of one call to Discord."
    )

    @property
    def is_set_up(self) -> bool:
        """Whether this says enough for the bot to connect."""
        return bool(self.bot_token.get_secret_value())


class Mcp(Section):
    """The tools for assistants behind `/mcp`, and who may call them."""

    write_tools: bool = Field(
        default=False,
        description="Offer `add_document` and `delete_document` to tokens with kb:write, kb:admin.",
    )
    calls_per_minute: int = Field(
        default=60, ge=1, le=1_000_000, description="Calls of one tool by one credential."
    )
    calls_burst: int = Field(
        default=20, ge=1, le=100_000, description="Calls of one tool at once, after a pause."
    )
    requests_per_minute: int = Field(
        default=600, ge=1, le=10_000_000, description="Requests of any kind by one credential."
    )
    requests_burst: int = Field(
        default=200, ge=1, le=1_000_000, description="Requests at once, after a pause."
    )
    api_tokens: bool = Field(
        default=True, description="Accept tokens made with `scrubjay token create`."
    )
    oauth_issuer: Issuer = Field(
        default="",
        description="Accept access tokens of this OAuth or OpenID Connect provider as well; needs "
        "server.public_url. Empty: none.",
    )
    oauth_audience: str = Field(
        default="",
        max_length=500,
        description="What a token's `aud` must name. Empty: this server's /mcp address.",
    )
    oauth_jwks_url: HttpUrl = Field(
        default="", description="The provider's keys. Empty: as its metadata says."
    )
    oauth_introspection_url: HttpUrl = Field(
        default="",
        description="Ask the provider about each token (RFC 7662) instead of checking signatures.",
    )
    oauth_client_id: str = Field(
        default="", max_length=500, description="Who asks the provider about tokens."
    )
    oauth_client_secret: SecretStr = Field(
        default=SecretStr(""), description="Its secret at the provider."
    )
    oauth_email_claim: str = Field(
        default="email",
        max_length=100,
        description="The claim that names a member by e-mail address. `email` counts only with "
        "`email_verified`; of another claim you vouch that people can't choose it. Empty: none.",
    )
    oauth_scopes: str = Field(
        default="",
        pattern=r"^( ?(kb:read|kb:ask|kb:write|kb:admin|ops:read))*$",
        description="Scopes every accepted access token has, for providers without scopes of "
        "yours; between blanks.",
    )
    oauth_tenant: str = Field(
        default="default", min_length=1, max_length=40, description="The tenant its people are of."
    )


class Settings(BaseSettings):
    """The whole tree and the data folder it belongs to; `engine.config.load_settings` builds it."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    home: Path
    system: System = System()
    database: Database = Database()
    storage: Storage = Storage()
    embedding: Embedding = Embedding()
    search: Search = Search()
    vespa: Vespa = Vespa()
    processing: Processing = Processing()
    llm: Llm = Llm()
    server: Server = Server()
    jobs: Jobs = Jobs()
    bots: Bots = Bots()
    slack: Slack = Slack()
    discord: Discord = Discord()
    mcp: Mcp = Mcp()

    # Where each value that is not a default was written; engine.config.origins tells it.
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _named_file: Path | None = PrivateAttr(default=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (pydantic-settings passes them)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `engine.config` reads file and environment.

        It does so itself because it keeps each value's origin and refuses environment variables
        that name no setting, which the library's own source passes over in silence.
        """
        return (init_settings,)

    @property
    def config_file(self) -> Path | None:
        """The settings file that somebody named, which a child process must be told of."""
        return self._named_file

    @property
    def database_url(self) -> str:
        """The database to open: the one set, or SQLite in the data folder."""
        return self.database.url or f"sqlite:///{self.home / 'scrubjay.db'}"

    @property
    def blob_folder(self) -> Path:
        """The folder of document bytes: the one set, or `blobs` in the data folder."""
        return Path(self.storage.path).expanduser() if self.storage.path else self.home / "blobs"

    @property
    def models_folder(self) -> Path:
        """The folder of models installed with `scrubjay model install`."""
        return self.home / "models"

    @property
    def embedding_threads(self) -> int:
        """Threads of the model in this process."""
        return self.embedding.threads or spare_cores()

    @property
    def parse_workers(self) -> int:
        """Child processes that parse documents."""
        return self.system.max_workers or spare_cores()


def secret_values(settings: Settings) -> list[str]:
    """Every secret in the tree, for `telemetry.keep_secret`: keys, and passwords inside URLs."""
    found: list[str] = []
    for name in Settings.model_fields:
        section = getattr(settings, name)
        if not isinstance(section, Section):
            continue
        for value in (getattr(section, field) for field in type(section).model_fields):
            if isinstance(value, SecretStr):
                found += value.get_secret_value().replace(",", " ").split()
            elif isinstance(value, str) and "://" in value:
                password = urlsplit(value).password or ""
                found += {password, unquote(password)}
    return [secret for secret in found if secret]


def spare_cores() -> int:
    """Cores that bulk work may take: all this process may use but one, at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) - 1)
