"""Signed assertions that connectors prove themselves with: JWT of an app's or account's own key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from engine.sources.contract import SourceRefused


def signed_assertion(claims: Mapping[str, Any], private_key: str) -> str:
    """A JWT over the claims, by RS256. Raises `SourceRefused` where the key is none."""
    try:
        return jwt.encode(dict(claims), private_key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise SourceRefused(
            "The private key can't be used: give the PEM file of an RSA key, whole.", login=True
        ) from None
