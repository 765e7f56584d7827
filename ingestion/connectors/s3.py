"""Object stores that speak S3: objects of a bucket, by their entity tags.

Listing goes on behind the last key, so that a step needs no token that expires. Requests are signed
here (AWS Signature Version 4) and go through the guarded client; credentials come from the tenant
alone, never from the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar
from urllib.parse import quote, unquote_plus, urlsplit

from lxml import etree
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from engine import clock
from engine.errors import Unavailable
from engine.sources.contract import (
    Change,
    Connector,
    Finding,
    ItemContent,
    ItemRef,
    KindSettings,
    LeftOut,
    Offers,
    Put,
    ScopeRef,
    SourceContext,
    SourceRefused,
    Step,
)
from engine.sources.http import SourceAnswer, host_of
from ingestion.connectors.s3_signing import signed_headers

PAGE = 1000  # keys of one answer, the most that S3 gives
ID_MAX = 2000
LIST_MAX_BYTES = 20 * 2**20
ARCHIVED = frozenset(("GLACIER", "DEEP_ARCHIVE"))
KEYS_REFUSED = frozenset(
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
)


class S3SourceSettings(KindSettings):
    """What a source of the kind `s3` takes."""

    bucket: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$", description="The bucket."
    )
    prefix: str = Field(default="", max_length=1000, description="Only keys that begin so.")
    region: str = Field(
        default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$", description="Its region."
    )
    endpoint: str = Field(
        default="",
        description="The address of a store that is not Amazon's, such as"
        " https://storage.googleapis.com.",
    )
    include: list[str] = Field(
        default_factory=list,
        description="Patterns of the keys to take, such as `*.md`. Empty: all.",
    )
    exclude: list[str] = Field(default_factory=list, description="Patterns of keys to leave out.")

    @field_validator("endpoint")
    @classmethod
    def _is_host(cls, given: str) -> str:
        parts = urlsplit(given)
        is_address = parts.scheme in {"http", "https"} and parts.hostname
        if given and (not is_address or parts.path.strip("/") or parts.query or parts.username):
            raise ValueError("it is the address of a host, such as https://s3.example.com")
        return given.rstrip("/")


class S3Keys(BaseModel):
    """Access keys; of Google, HMAC keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    access_key_id: str = Field(min_length=1, max_length=200, description="The id of the key.")
    secret_access_key: SecretStr = Field(min_length=1, description="The key.")
    session_token: SecretStr = Field(default=SecretStr(""), description="Of temporary keys.")


@dataclass(frozen=True, slots=True)
class _S3Object:
    key: str
    tag: str
    size: int
    modified: str
    storage: str


class S3Connector(Connector[S3SourceSettings]):
    """An item is an object, its id the key, its version the entity tag and the size."""

    kind: ClassVar[str] = "s3"
    title: ClassVar[str] = "S3-compatible object store"
    offers: ClassVar[Offers] = Offers(every_s=3_600)
    methods: ClassVar[Mapping[str, type[BaseModel]]] = {"keys": S3Keys}
    rate_per_s: ClassVar[float] = 20.0
    settings = S3SourceSettings

    async def check(self, ctx: SourceContext[S3SourceSettings]) -> list[Finding]:
        """Whether the bucket can be listed, and one object be opened."""
        found = await _page(ctx, "", 1)
        if not found:
            said = f"{ctx.settings.bucket} has no object below {ctx.settings.prefix!r}."
            return [Finding("empty", said, ok=False, field="prefix")]
        answer = await _get(ctx, found[0].key, {}, headers={"Range": "bytes=0-0"})
        if answer.status not in {200, 206, 416}:
            said = f"{ctx.settings.bucket} can be listed, and its objects may not be read."
            return [Finding("forbidden", said, ok=False)]
        return [Finding("reachable", f"{ctx.settings.bucket} can be listed and read.")]

    async def scopes(self, ctx: SourceContext[S3SourceSettings]) -> list[ScopeRef]:
        """The bucket, from the prefix on."""
        title = f"{ctx.settings.bucket}/{ctx.settings.prefix}"
        return [ScopeRef("objects", title, "bucket")]

    async def listing(
        self,
        ctx: SourceContext[S3SourceSettings],
        scope: ScopeRef,  # noqa: ARG002 (the contract's)
        cursor: Mapping[str, Any],
    ) -> Step:
        """Some objects, in the order of their keys."""
        after = str(cursor.get("after", ""))
        found = await _page(ctx, after, PAGE)
        if not found and not after:
            note = "The bucket is empty, or its prefix is: nothing was removed."
            return Step([], {}, more=False, complete=False, note=note)
        if any(one.key <= after for one in found):
            raise SourceRefused(
                "This store does not list keys in their order, which is needed. Nothing was removed."
            )
        changes = [change for one in found if (change := _change(ctx.settings, one)) is not None]
        more = len(found) >= PAGE
        return Step(changes, {"after": found[-1].key} if more else {}, more=more)

    async def open(
        self,
        ctx: SourceContext[S3SourceSettings],
        scope: ScopeRef,  # noqa: ARG002
        item: ItemRef,
    ) -> ItemContent | None:
        """The bytes of an object."""
        answer = await _get(ctx, item.id, {}, max_bytes=ctx.max_bytes)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise SourceRefused(f"It may not be read ({_fault(answer)[0] or answer.status}).")
        return ItemContent(answer.data, item.filename, answer.mime)


def _change(settings: S3SourceSettings, one: _S3Object) -> Change | None:
    name = one.key.rpartition("/")[2]
    if not name or not _is_wanted(one.key, name, settings):
        return None  # a marker of a folder
    if reason := _refused(one):
        return LeftOut(one.key[:ID_MAX], reason, name[:500])
    return Put(
        one.key,
        f"{one.tag}-{one.size}",
        title=name,
        filename=name,
        size_bytes=one.size,
        updated_at=_instant(one.modified),
    )


def _is_wanted(key: str, name: str, settings: S3SourceSettings) -> bool:
    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(key, one) or fnmatchcase(name, one) for one in patterns)

    return (not settings.include or matches(settings.include)) and not matches(settings.exclude)


def _refused(one: _S3Object) -> str:
    if not one.size:
        return "It is empty."
    if one.storage in ARCHIVED:
        return "It is archived: restore it to have it read."
    if len(one.key) > ID_MAX or any(ord(letter) < 32 for letter in one.key):
        return "Its key is too long, or has characters that no key should have."
    if any(part in {".", ".."} for part in one.key.split("/")):
        return "Its key has parts that no address can have."
    return ""


def _instant(said: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def _endpoint(settings: S3SourceSettings) -> str:
    return settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"


async def _page(ctx: SourceContext[S3SourceSettings], after: str, count: int) -> list[_S3Object]:
    query = {
        "list-type": "2",
        "max-keys": str(count),
        "encoding-type": "url",
        "prefix": ctx.settings.prefix,
    }
    if after:
        query["start-after"] = after
    answer = await _get(ctx, "", query, max_bytes=LIST_MAX_BYTES)
    if answer.status != 200:
        code, said = _fault(answer)
        raise SourceRefused(
            f"{ctx.settings.bucket} can't be listed ({code or answer.status}"
            f"{': ' + said if said else ''}). Nothing was removed.",
            login=code in KEYS_REFUSED,
        )
    return _parse_page(answer)


async def _get(
    ctx: SourceContext[S3SourceSettings],
    key: str,
    query: Mapping[str, str],
    *,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = 2**20,
) -> SourceAnswer:
    settings = ctx.settings
    base = _endpoint(settings)
    path = f"/{settings.bucket}" + (f"/{quote(key, safe='/~')}" if key else "")
    asked = "&".join(
        f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items())
    )
    url = f"{base}{path}" + (f"?{asked}" if asked else "")

    def sign(values: Mapping[str, str]) -> Mapping[str, str]:
        return signed_headers(values, "GET", url, settings.region, clock.now())

    answer: SourceAnswer = await ctx.http.get(
        url,
        hosts=[host_of(base)],
        headers=headers,
        sign=sign,
        max_bytes=max_bytes,
        redirects=0,
    )
    return answer


def _parse_page(answer: SourceAnswer) -> list[_S3Object]:
    root = _xml(answer)
    if root is None or etree.QName(root).localname != "ListBucketResult":
        raise SourceRefused("What answers there is no object store. Nothing was removed.")
    is_encoded = _text(root, "EncodingType") == "url"
    found = []
    for one in root.iterfind("{*}Contents"):
        key = _text(one, "Key")
        found.append(
            _S3Object(
                unquote_plus(key) if is_encoded else key,
                _text(one, "ETag").strip('"'),
                int(_text(one, "Size") or 0),
                _text(one, "LastModified"),
                _text(one, "StorageClass"),
            )
        )
    return found


def _fault(answer: SourceAnswer) -> tuple[str, str]:
    """The code of an error, and what can be done where it says so."""
    root = _xml(answer)
    code = "" if root is None else _text(root, "Code")[:80]
    if region := answer.headers.get("x-amz-bucket-region", ""):
        return code, f"it is in the region {region[:40]}"
    return code, ""


def _xml(answer: SourceAnswer) -> Any | None:  # noqa: ANN401 (lxml has no types)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    if not answer.data:
        return None
    try:
        return etree.fromstring(answer.data, parser)
    except etree.XMLSyntaxError as error:
        if answer.status == 200:
            raise Unavailable("What the store sent was cut short; it is tried again.") from error
        return None


def _text(element: Any, name: str) -> str:  # noqa: ANN401
    found = element.find(f"{{*}}{name}")
    return "" if found is None or found.text is None else str(found.text)
