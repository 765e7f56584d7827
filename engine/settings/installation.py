"""Settings of the installation: its processes, rows, bytes, jobs and HTTP server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from engine.settings.section import BrokerUrl, DatabaseUrl, HttpUrl, SettingsSection


class SystemSettings(SettingsSection):
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


class DatabaseSettings(SettingsSection):
    """Where rows live. SQL is the truth about what is visible."""

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
        description="Connections opened beyond the pool when all are busy.",
    )
    pool_timeout_s: float = Field(
        default=30,
        gt=0,
        le=600,
        description="Seconds to wait for a free connection before giving up.",
    )


class StorageSettings(SettingsSection):
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


class ServerSettings(SettingsSection):
    """The HTTP server behind `/`, `/mcp` and `/v/`."""

    host: str = Field(default="127.0.0.1", min_length=1, description="The address listened on.")
    port: int = Field(default=7337, ge=0, le=65535, description="The port; 0: any that is free.")
    public_url: HttpUrl = Field(
        default="",
        description="How others reach the server, for links. With it every call needs a token.",
    )


class JobSettings(SettingsSection):
    """Durable work: who does it, how long a claim lasts, when it is given up."""

    broker: BrokerUrl = Field(
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
