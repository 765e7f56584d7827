"""HTTP: asks a service of others, and changes something there once."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from engine.clock import now
from engine.errors import InvalidInput, RateLimited, Unavailable
from engine.flow.component import ComponentParam, Effect, Inputs, Output
from engine.flow.context import RunContext
from engine.flow.references import render_value
from engine.net.http import parse_retry_after
from engine.net.requests import (
    MAX_BYTES,
    SAFE,
    NoResponse,
    ServiceRequest,
    ServiceResponse,
    allowed_url,
    send_request,
)
from engine.workflows.component import (
    ANY,
    BOOLEAN,
    INTEGER,
    OBJECT,
    STRING,
    Text,
    WorkflowComponent,
    WorkflowRun,
)
from engine.workflows.effects import EffectCall, MaybeDone
from engine.workflows.recipients import OUTSIDE, is_recipient, require_recipient

REPEATABLE = frozenset({"PUT", "DELETE"})
HEADERS_SHOWN = 50

# A host that is written out: what follows it begins the path.
_HOST = re.compile(r"https?://([^/?#{}\\@\s]+)(?=[/?#]|$)", re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key"})


class HttpAuth(BaseModel):
    """How a request signs in: a bearer token, or a user with a password. Secrets belong here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bearer: str = ""
    user: str = ""
    password: str = ""


class Http(WorkflowComponent):
    """Sends an HTTP request to a service and reads its response.

    A `{{secret.name}}` may stand in `headers` and `auth`, and goes only to the hosts it is bound to. GET
    and HEAD read; the other methods change something, once: a PUT, a DELETE and a request whose service
    honours `Idempotency-Key` (`idempotent`) are repeated when a worker was lost, any other is asked about.
    """

    type = "HTTP"
    aliases = ("Invoke", "http-request", "HttpRequest", "httpRequest")
    effect = "write"
    secret = frozenset({"headers", "auth"})
    literal = frozenset({"allow_hosts", "recipient"})
    output = {  # noqa: RUF012 (a ClassVar of the base)
        "status": INTEGER,
        "headers": OBJECT,
        "body": ANY,
        "truncated": BOOLEAN,
        "outcome": STRING,
    }
    timeout_s = 120.0

    class Param(ComponentParam):
        method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
        url: Text = Field(min_length=1, max_length=2_000)
        query: dict[str, Any] = Field(default_factory=dict, max_length=50)
        headers: dict[str, Text] = Field(default_factory=dict, max_length=50)
        auth: HttpAuth = HttpAuth()
        json_: Any = Field(default=None, alias="json")
        form: dict[str, Any] | None = None
        text: Text | None = None
        response: Literal["auto", "json", "text"] = "auto"
        allow_hosts: tuple[str, ...] = Field(default=(), max_length=20)
        recipient: str = OUTSIDE
        idempotent: bool = False
        fail_on_status: bool = True
        max_bytes: int = Field(default=MAX_BYTES // 2, ge=1, le=MAX_BYTES // 2)
        request_timeout_s: float = Field(default=30.0, gt=0, le=100)

    param: Param

    @classmethod
    def effect_of(cls, param: Any) -> Effect:  # noqa: ANN401
        """GET and HEAD read."""
        return "read" if param.method in SAFE else "write"

    @classmethod
    def faults_of(cls, param: Any) -> list[str]:  # noqa: ANN401
        """A host that nobody named, two bodies, headers that are ours, an unknown recipient."""
        faults = []
        if not param.allow_hosts and _HOST.match(param.url) is None:
            faults.append(
                "param `url`: write its host out (https://host/…), or list in `allow_hosts` the"
                " hosts it may be"
            )
        bodies = [param.json_ is not None, param.form is not None, param.text is not None]
        if sum(bodies) > 1:
            faults.append("param `json`: give one of `json`, `form` and `text`")
        if any(bodies) and param.method in SAFE:
            faults.append(f"param `method`: a {param.method} has no body")
        faults += [
            f"param `headers`: {name!r} is no header that can be set"
            for name in param.headers
            if not _HEADER.fullmatch(name) or name.lower() in _OURS
        ]
        if not is_recipient(param.recipient):
            faults.append("param `recipient`: write outside, tenant or kb:<name>")
        return faults

    async def _work(self, context: RunContext[WorkflowRun], inputs: Inputs) -> Output:
        run, method = context.services, self.param.method
        await require_recipient(run, list(self.sources), self.param.recipient)
        request = self._request(run)
        if method in SAFE:
            try:
                return {**await self._response(run, request), "outcome": "done"}
            except NoResponse as error:
                raise Unavailable(f"{error}.") from None
        host = urlsplit(request.url).hostname or ""
        call = EffectCall(
            path=context.path + self.id,
            kind=f"http.{method.lower()}",
            target=host,
            summary=f"{method} to {host}",
            repeatable=method in REPEATABLE or self.param.idempotent,
        )

        async def do(key: str) -> Mapping[str, Any]:
            keyed = self._request(run, key=key)
            try:
                return await self._response(run, keyed, unclear=not call.repeatable)
            except NoResponse as error:
                raise MaybeDone(f"{error}.") from None

        ended = await run.effects.once(call, do, inputs.reply)
        nothing = {"status": 0, "headers": {}, "body": None, "truncated": False}
        return {**nothing, **ended.result, "outcome": ended.how}

    def _request(self, run: WorkflowRun, *, key: str = "") -> ServiceRequest:
        param = self.param
        written = str(getattr(self.given, "url", ""))
        named = _HOST.match(written)
        hosts = param.allow_hosts or ((_bare(named[1]),) if named is not None else ())
        url = param.url
        if param.query:
            said = urlencode({name: render_value(value) for name, value in param.query.items()})
            url = f"{url}{'&' if urlsplit(url).query else '?'}{said}"
        content, kind = self._content()

        def headers_for(host: str) -> Mapping[str, str]:
            return self._headers(run, host, kind=kind, key=key)

        return ServiceRequest(
            method=param.method,
            url=allowed_url(url, hosts),
            hosts=hosts,
            headers_for=headers_for,
            content=content,
            max_bytes=param.max_bytes,
            timeout_s=param.request_timeout_s,
        )

    def _content(self) -> tuple[bytes | None, str]:
        param = self.param
        if param.json_ is not None:
            return json.dumps(param.json_, ensure_ascii=False).encode(), "application/json"
        if param.form is not None:
            values = {name: render_value(value) for name, value in param.form.items()}
            return urlencode(values).encode(), "application/x-www-form-urlencoded"
        if param.text is not None:
            return param.text.encode(), "text/plain; charset=utf-8"
        return None, ""

    def _headers(self, run: WorkflowRun, host: str, *, kind: str, key: str) -> Mapping[str, str]:
        headers = {"Content-Type": kind} if kind else {}
        if key:
            headers["Idempotency-Key"] = key
        for name, value in self.param.headers.items():
            headers = {n: v for n, v in headers.items() if n.lower() != name.lower()}
            headers[name] = run.secrets.reveal(value, host=host)
        auth = self.param.auth
        if auth.bearer:
            headers["Authorization"] = f"Bearer {run.secrets.reveal(auth.bearer, host=host)}"
        elif auth.user or auth.password:
            pair = run.secrets.reveal(f"{auth.user}:{auth.password}", host=host)
            encoded = base64.b64encode(pair.encode()).decode()
            run.secrets.hide("of a sign-in", encoded)
            headers["Authorization"] = f"Basic {encoded}"
        for name, value in headers.items():
            if not value.isprintable() or not value.isascii():
                raise InvalidInput(
                    f"component {self.id!r}: the header {name} has a line break or letters that"
                    " headers can't have.",
                    field="headers",
                )
        return headers

    async def _response(
        self, run: WorkflowRun, request: ServiceRequest, *, unclear: bool = False
    ) -> dict[str, Any]:
        """What came, as this component writes it; a status that is a failure is raised."""
        response = await send_request(request, allow_private=run.services.allow_private_urls)
        host = urlsplit(request.url).hostname or ""
        if self.param.fail_on_status:
            _raise_for(response, host, unclear=unclear)
        is_json = "json" in response.headers.get("content-type", "").partition(";")[0]
        wanted = self.param.response
        shown = {name: v for name, v in response.headers.items() if name != "set-cookie"}
        return {
            "status": response.status,
            "headers": dict(list(shown.items())[:HEADERS_SHOWN]),
            "body": response.json()
            if wanted == "json" or (wanted == "auto" and is_json)
            else response.text,
            "truncated": response.truncated,
        }


def _raise_for(response: ServiceResponse, host: str, *, unclear: bool) -> None:
    """Raise where the status says that the request failed; `MaybeDone` where a gateway says so."""
    status = response.status
    said = f"{host} answered {status}"
    if status == 429:
        asked = parse_retry_after(response.headers.get("retry-after"), at=now())
        raise RateLimited(f"{said}: too many requests.", retry_after_s=asked or 30.0)
    if status in {502, 504} and unclear:
        raise MaybeDone(f"{said}.")
    if status in {408, 425, 500, 502, 503, 504}:
        raise Unavailable(f"{said}: try again.")
    if status >= 400:
        raise InvalidInput(
            f"{said}: check what is sent, or set `fail_on_status` to false and look at `status`.",
            field="url",
        )


def _bare(netloc: str) -> str:
    """The host of `host:port`."""
    return urlsplit(f"//{netloc}").hostname or ""
