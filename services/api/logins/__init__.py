"""Logins of people through an identity provider: Authorization Code with PKCE, access and refresh tokens."""
