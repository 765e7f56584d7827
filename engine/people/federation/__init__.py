"""Signing in with an account at an identity provider: OpenID Connect, and OAuth 2 where there is none."""
