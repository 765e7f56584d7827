"""Settings of the doors: how much the chat bots answer, Slack, Discord, and MCP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from engine.settings.section import HttpUrl, Issuer, SettingsSection, WebSocketUrl


class BotSettings(SettingsSection):
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


class SlackSettings(SettingsSection):
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


class DiscordSettings(SettingsSection):
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


class McpSettings(SettingsSection):
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
