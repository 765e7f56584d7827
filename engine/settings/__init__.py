"""The tree of settings: one class a section, each field with its default, its bounds and its help.

`engine/config.py` fills it from `scrubjay.toml` and the environment and says where each value came
from; adapters never see it, they get explicit arguments from `engine/runtime.py`. A setting is
added only once something reads it. `docs/reference/settings.md` is generated from this package.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import PrivateAttr, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from engine.settings.doors import BotSettings, DiscordSettings, McpSettings, SlackSettings
from engine.settings.installation import (
    DatabaseSettings,
    JobSettings,
    MailSettings,
    ServerSettings,
    StorageSettings,
    SystemSettings,
)
from engine.settings.knowledge import (
    EmbeddingSettings,
    LlmSettings,
    ProcessingSettings,
    SearchSettings,
    SourceSettings,
    VespaSettings,
)
from engine.settings.section import SettingsSection

__all__ = [
    "BotSettings",
    "DiscordSettings",
    "MailSettings",
    "McpSettings",
    "ProcessingSettings",
    "ServerSettings",
    "Settings",
    "SlackSettings",
    "secret_values",
    "spare_cores",
]


class Settings(BaseSettings):
    """All sections and the data folder; `engine.config.load_settings` builds it."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    home: Path
    system: SystemSettings = SystemSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    search: SearchSettings = SearchSettings()
    vespa: VespaSettings = VespaSettings()
    processing: ProcessingSettings = ProcessingSettings()
    sources: SourceSettings = SourceSettings()
    llm: LlmSettings = LlmSettings()
    server: ServerSettings = ServerSettings()
    jobs: JobSettings = JobSettings()
    mail: MailSettings = MailSettings()
    bots: BotSettings = BotSettings()
    slack: SlackSettings = SlackSettings()
    discord: DiscordSettings = DiscordSettings()
    mcp: McpSettings = McpSettings()

    # Where each value that is not a default was written, for engine.config.origins.
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

        It does so because it keeps each value's origin and refuses environment variables
        that name no setting, which the library's own source ignores.
        """
        return (init_settings,)

    @property
    def config_file(self) -> Path | None:
        """The settings file that was named explicitly; a child process needs it, too."""
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
    def plugins_folder(self) -> Path | None:
        """The operator's folder of plugins, where there is one."""
        chosen = self.processing.plugins
        return Path(chosen).expanduser() if chosen else None

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
        if not isinstance(section, SettingsSection):
            continue
        for value in (getattr(section, field) for field in type(section).model_fields):
            if isinstance(value, SecretStr):
                found += value.get_secret_value().replace(",", " ").split()
            elif isinstance(value, str) and "://" in value:
                password = urlsplit(value).password or ""
                found += {password, unquote(password)}
    return [secret for secret in found if secret]


def spare_cores() -> int:
    """Cores that bulk work may use: one fewer than this process has, at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) - 1)
