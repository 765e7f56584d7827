"""Settings of the installation: its processes, rows, bytes, jobs and HTTP server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from engine.settings.section import (
    BrokerUrl,
    DatabaseUrl,
    HttpUrl,
    MailAddress,
    Origins,
    ProbeAddresses,
    SettingsSection,
)


class SystemSettings(SettingsSection):
    """The process as a whole."""

    debug: bool = Field(
        default=False, description="Show tracebacks with errors on the command line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Minimum log level. Libraries log at `info` at the least: debugging would show"
        " what they carry.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="Log format: text for people, or one JSON object per line.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key that encrypts credentials and signs links. Empty: `secret.key` in the "
        "data folder, created at the first start. Required with PostgreSQL.",
    )
    max_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Child processes that parse documents. 0: one fewer than the cores, at least "
        "1. An extra one helps out when a file takes long.",
    )


class DatabaseSettings(SettingsSection):
    """The database. It decides what is visible."""

    url: DatabaseUrl = Field(
        default="",
        repr=False,
        description="SQLAlchemy URL. Empty: SQLite in `scrubjay.db` in the data folder.",
    )
    pool_size: int = Field(default=20, ge=1, le=1000, description="Connections kept open.")
    max_overflow: int = Field(
        default=30,
        ge=0,
        le=1000,
        description="Extra connections when all of the pool are busy.",
    )
    pool_timeout_s: float = Field(
        default=30,
        gt=0,
        le=600,
        description="Seconds to wait for a free connection before giving up.",
    )


class StorageSettings(SettingsSection):
    """Where the bytes of documents are stored."""

    type: Literal["folder", "s3"] = Field(
        default="folder", description="Where the bytes are stored."
    )
    path: str = Field(default="", description="The folder. Empty: `blobs` in the data folder.")
    bucket: str = Field(default="", description="The bucket; required with s3.")
    prefix: str = Field(default="", description="Prefix of every key in the bucket.")
    endpoint: HttpUrl = Field(
        default="", repr=False, description="An S3 server that is not AWS, e.g. http://minio:9000."
    )
    region: str = Field(default="us-east-1", min_length=1, description="The bucket's region.")
    access_key_id: SecretStr = Field(
        default=SecretStr(""),
        description="Access key for the bucket. Empty: the role of the machine or pod.",
    )
    secret_access_key: SecretStr = Field(
        default=SecretStr(""), description="Secret of the access key."
    )
    timeout_s: float = Field(
        default=60, gt=0, le=3600, description="Timeout of a call to the bucket, in seconds."
    )


class ServerSettings(SettingsSection):
    """The HTTP server behind `/`, `/mcp` and `/d/`."""

    host: str = Field(default="127.0.0.1", min_length=1, description="The address to listen on.")
    port: int = Field(default=7337, ge=0, le=65535, description="The port; 0: any free port.")
    public_url: HttpUrl = Field(
        default="",
        description="The server's public URL, used in links. If it is set, every call needs a "
        "token.",
    )
    questions_at_once: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="Questions and searches that are worked on at once, all doors together; more "
        "get 503 and a time to come again. Bots have `bots.answers_at_once`.",
    )
    probes: ProbeAddresses = Field(
        default="",
        description="Other services to watch, as name=address, separated by commas, such as "
        "crm=https://crm.example.com/health, queue=tcp://mq:5672. `doctor`, `/api/v1/health` and "
        "`/metrics` show them; `/ready` does not depend on them.",
    )
    allowed_origins: Origins = Field(
        default="",
        description="Origins of web pages that can call /mcp and /api with a token, such as "
        "https://app.example.com, separated by commas. Empty: none but this server's own.",
    )
    private_issuers: bool = Field(
        default=False,
        description="Let tenants' identity providers be at private addresses, and without https: "
        "for a provider on your own network.",
    )
    requests_per_minute: int = Field(
        default=6_000,
        ge=1,
        le=10_000_000,
        description="REST requests per credential, per minute.",
    )
    requests_burst: int = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="REST requests per credential in a burst, after a pause.",
    )
    widget_questions_per_minute: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Questions that a visitor of a page with a widget may ask, per minute and "
        "network address.",
    )


class MailSettings(SettingsSection):
    """The mail server for invitations, password resets and notices. It needs `server.public_url`."""

    host: str = Field(
        default="",
        max_length=253,
        pattern=r"^[A-Za-z0-9.:_-]*$",
        description="The mail server (SMTP). Empty: none; links are shown to who makes them.",
    )
    port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Its port; 0: 465 with tls, 587 with starttls, 25 with plain.",
    )
    security: Literal["tls", "starttls", "plain"] = Field(
        default="starttls",
        description="How the connection is encrypted. It is required, not tried; plain only on "
        "this machine.",
    )
    ca_file: str = Field(
        default="",
        description="A file of certificates to trust instead of the machine's, for a mail server "
        "of your own.",
    )
    username: str = Field(default="", max_length=320, description="Name to sign in with, if any.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of `username`.")
    sender: MailAddress = Field(
        default="",
        max_length=400,
        description="Who messages are from: kb@example.com, or Scrubjay <kb@example.com>.",
    )
    timeout_s: float = Field(
        default=20, gt=0, le=300, description="Timeout of a step of sending, in seconds."
    )

    @property
    def is_set_up(self) -> bool:
        """Whether messages can be sent with these settings."""
        return bool(self.host)


class JobSettings(SettingsSection):
    """Background jobs: the broker, leases and retries."""

    broker: BrokerUrl = Field(
        default="memory",
        repr=False,
        description='"memory", or redis://… for workers on several machines.',
    )
    lease_s: float = Field(
        default=30,
        ge=2,
        le=3600,
        description="Seconds until another worker takes over a silent worker's job.",
    )
    slots: int = Field(
        default=0, ge=0, le=64, description="Jobs a worker runs at once; 0: automatic."
    )
    max_attempts: int = Field(default=5, ge=1, le=100, description="Attempts before a job fails.")
    idle_exit_s: float = Field(
        default=20,
        ge=1,
        le=86_400,
        description="Seconds of idleness until the model is unloaded.",
    )
