"""Settings of the doors: how much the chat bots answer, Slack, Discord, and MCP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from engine.settings.section import HttpUrl, Issuer, SettingsSection, WebSocketUrl


class BotSettings(SettingsSection):
    """How much the chat bots answer. `/kb limits` overrides these for a tenant."""

    questions_per_person: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Limit of questions per person in five minutes; 0: no limit.",
    )
    questions_per_channel: int = Field(
        default=60,
        ge=0,
        le=100_000,
        description="Limit of questions per channel in five minutes; 0: no limit.",
    )
    questions_per_tenant: int = Field(
        default=600,
        ge=0,
        le=1_000_000,
        description="Limit of questions per tenant in five minutes; 0: no limit.",
    )
    tokens_per_day: int = Field(
        default=0,
        ge=0,
        le=10_000_000_000,
        description="Limit of language model tokens per tenant in a day; 0: no limit.",
    )
    answers_at_once: int = Field(
        default=4,
        ge=1,
        le=256,
        description="Questions that a bot process answers at the same time.",
    )
    # 65: the least at which no more foreign questions are answered than at 85 (1 in 700), with two
    # thirds of those that have an answer: benchmarks/results/chat.json, auto_mode_curve.
    auto_threshold: int = Field(
        default=65,
        ge=0,
        le=100,
        description="Default confidence, in percent, for an unprompted answer.",
    )


class SlackSettings(SettingsSection):
    """The Slack bot. Its manifest and the steps: `scrubjay bot manifest` and docs/how-to/slack.md."""

    bot_token: SecretStr = Field(
        default=SecretStr(""),
        description="Bot token (xoxb-…) of an app installed in one workspace; the workspace "
        "belongs to the default tenant.",
    )
    app_token: SecretStr = Field(
        default=SecretStr(""),
        description="App-level token (xapp-…) with connections:write, for Socket Mode.",
    )
    signing_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signing secret for events over HTTP at /slack/events.",
    )
    client_id: str = Field(
        default="",
        max_length=100,
        description="Client id, to install the app into more workspaces by OAuth.",
    )
    client_secret: SecretStr = Field(
        default=SecretStr(""), description="Client secret of client_id."
    )
    app: Literal["internal", "distributed"] = Field(
        default="internal",
        description="Who owns the Slack app: your organisation, or someone who distributes it. "
        "Slack doesn't let a distributed app store messages, so it answers from documents only.",
    )
    command: str = Field(
        default="/kb",
        pattern=r"^/[a-z0-9_-]{1,31}$",
        description="The slash command; change it if /kb is taken.",
    )
    api_base_url: HttpUrl = Field(
        default="", repr=False, description="URL of Slack's API, for tests."
    )
    timeout_s: float = Field(
        default=10, gt=0, le=120, description="Timeout of a call to Slack, in seconds."
    )

    @property
    def is_set_up(self) -> bool:
        """Whether the bot can receive anything with these settings."""
        listens = self.app_token.get_secret_value() or self.signing_secret.get_secret_value()
        return bool(listens or self.client_id)


class DiscordSettings(SettingsSection):
    """The Discord bot: one application, in as many servers as invite it."""

    bot_token: SecretStr = Field(
        default=SecretStr(""),
        description="Your application's bot token. Empty: no Discord bot.",
    )
    message_content: bool = Field(
        default=True,
        description="Request the message content intent, which history and auto mode need. If "
        "Discord refuses it, the bot runs without it and says so.",
    )
    members: bool = Field(
        default=True,
        description="Request the server members intent, needed to learn who can read a channel. "
        "If Discord refuses it, answers in a restricted channel use only that channel.",
    )
    development_server: str = Field(
        default="",
        pattern=r"^\d{0,20}$",
        description="Id of a server for development: only this server gets the commands, and at "
        "once.",
    )
    api_base_url: HttpUrl = Field(
        default="",
        repr=False,
        description="URL of Discord's REST API up to /api/v10, for tests.",
    )
    gateway_url: WebSocketUrl = Field(
        default="", repr=False, description="URL of Discord's gateway, for tests."
    )
    timeout_s: float = Field(
        default=10, gt=0, le=120, description="Timeout of a call to Discord, in seconds."
    )

    @property
    def is_set_up(self) -> bool:
        """Whether the bot can connect with these settings."""
        return bool(self.bot_token.get_secret_value())


class McpSettings(SettingsSection):
    """The tools for assistants at `/mcp`, and who may call them."""

    write_tools: bool = Field(
        default=False,
        description="Offer `add_document` and `delete_document` to tokens with kb:write, kb:admin.",
    )
    statistics: bool = Field(
        default=False,
        description="Offer `get_statistics` to tokens with kb:manage: numbers, no texts.",
    )
    plugin_tools: bool = Field(
        default=False,
        description="Offer the tools of plugins that an organisation allows to its tokens with "
        "kb:ask.",
    )
    calls_per_minute: int = Field(
        default=60, ge=1, le=1_000_000, description="Calls of a tool per credential, per minute."
    )
    calls_burst: int = Field(
        default=20,
        ge=1,
        le=100_000,
        description="Calls of a tool per credential in a burst, after a pause.",
    )
    requests_per_minute: int = Field(
        default=600,
        ge=1,
        le=10_000_000,
        description="Requests of any kind per credential, per minute.",
    )
    requests_burst: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Requests per credential in a burst, after a pause.",
    )
    api_tokens: bool = Field(
        default=True, description="Accept tokens created with `scrubjay token create`."
    )
    oauth_issuer: Issuer = Field(
        default="",
        description="Also accept access tokens of this OAuth or OpenID Connect provider. Needs "
        "server.public_url. Empty: none.",
    )
    oauth_audience: str = Field(
        default="",
        max_length=500,
        description="Required `aud` of a token. Empty: this server's /mcp URL.",
    )
    oauth_jwks_url: HttpUrl = Field(
        default="", description="URL of the provider's keys. Empty: from its metadata."
    )
    oauth_introspection_url: HttpUrl = Field(
        default="",
        description="Ask the provider about each token (RFC 7662) instead of checking signatures.",
    )
    oauth_client_id: str = Field(
        default="", max_length=500, description="Client id for introspection."
    )
    oauth_client_secret: SecretStr = Field(
        default=SecretStr(""), description="Client secret for introspection."
    )
    oauth_email_claim: str = Field(
        default="email",
        max_length=100,
        description="The claim that names a member by e-mail address. `email` counts only with "
        "`email_verified`; with another claim, make sure that people can't choose its value. "
        "Empty: none.",
    )
    oauth_scopes: str = Field(
        default="",
        pattern=r"^( ?(kb:read|kb:ask|kb:write|kb:manage|kb:admin|ops:read))*$",
        description="Scopes granted to every accepted access token, separated by spaces; for "
        "providers that can't have your scopes.",
    )
    oauth_tenant: str = Field(
        default="default",
        min_length=1,
        max_length=40,
        description="The tenant of the provider's people.",
    )
