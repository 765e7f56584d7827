"""AWS Signature Version 4 of a request without a body, as its documentation describes it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

NOTHING = hashlib.sha256(b"").hexdigest()


def signed_headers(
    keys: Mapping[str, str], method: str, url: str, region: str, now: datetime
) -> dict[str, str]:
    """The headers that sign a request; path and query are encoded already, the query sorted."""
    parts = urlsplit(url)
    at = f"{now:%Y%m%dT%H%M%SZ}"
    named = {"host": parts.netloc, "x-amz-content-sha256": NOTHING, "x-amz-date": at}
    if token := keys.get("session_token"):
        named["x-amz-security-token"] = token
    names = ";".join(sorted(named))
    lines = "".join(f"{name}:{named[name]}\n" for name in sorted(named))
    request = "\n".join([method, parts.path, parts.query, lines, names, NOTHING])
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, digest])
    key = f"AWS4{keys['secret_access_key']}".encode()
    for part in (at[:8], region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys['access_key_id']}/{scope}"
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    del named["host"]  # which the client sends
    return {**named, "Authorization": authorization}
