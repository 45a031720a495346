"""Who a request comes from: basic, bearer token or API key; and the token endpoint.

Sources: ServiceNow docs, "OAuth API request parameters"; KB2058936 (client credentials); KB3041645 (reasons for a 401).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .access import Caller
from .answers import ApiAnswer, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .config import Account, OAuthClient
    from .instance import Instance

_GENERIC: Final = {"error_description": "access_denied", "error": "server_error"}
_INVALID_CLIENT: Final = {"error": "invalid_client", "error_description": "Invalid client_id or client_secret."}
_MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Token:
    """An issued token: for whom, through which application and grant, and when (unix time) it ends."""

    text: str
    user_name: str
    client_id: str
    grant: str
    ends: float


class Authentication:
    """Checks credentials against the accounts and their sys_user rows, and counts failed logins."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._access_tokens: dict[str, Token] = {}
        self._refresh_tokens: dict[str, Token] = {}
        self.failed_logins: dict[str, int] = {}

    def caller(self, headers: Mapping[str, str]) -> Caller | None:
        """Return who sends these headers (names in lower case), or None where the instance answers 401."""
        if key := headers.get("x-sn-apikey", ""):
            found = next((item for item in self._instance.config.api_keys if _same(item.token, key)), None)
            return None if found is None else self._usable(found.user_name)
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "basic":
            return self._basic(credentials.strip())
        if scheme.casefold() == "bearer":
            token = self._access_tokens.get(credentials.strip())
            return None if token is None or token.ends <= self._instance.clock() else self._usable(token.user_name)
        return None

    def token(self, content_type: str, form: Mapping[str, str]) -> ApiAnswer:
        """Answer POST /oauth_token.do. Parameters are read from a form body only."""
        client = self._client(form) if content_type.startswith("application/x-www-form-urlencoded") else None
        if client is None:
            invalid = self._instance.config.oauth_error == "invalid_client"
            return json_answer(401, _INVALID_CLIENT if invalid else _GENERIC)
        grant = form.get("grant_type", "")
        if grant == "client_credentials" and self._instance.config.client_credentials_enabled and client.user_name:
            return self._issued(client, client.user_name, grant, with_refresh=False)
        if grant == "password" and (account := self._login(form.get("username", ""), form.get("password", ""))):
            return self._issued(client, account.user_name, grant, with_refresh=True)
        if grant == "refresh_token":
            refresh = self._refresh_tokens.get(form.get("refresh_token", ""))
            if refresh and refresh.client_id == client.client_id and refresh.ends > self._instance.clock():
                return self._issued(client, refresh.user_name, "password", with_refresh=True)
        return json_answer(401, _GENERIC)

    def forget_tokens(self) -> None:
        """Revoke every access token."""
        self._access_tokens.clear()

    def _client(self, form: Mapping[str, str]) -> OAuthClient | None:
        for client in self._instance.config.oauth_clients:
            if client.client_id == form.get("client_id") and _same(client.client_secret, form.get("client_secret", "")):
                return client
        return None

    def _issued(self, client: OAuthClient, user_name: str, grant: str, *, with_refresh: bool) -> ApiAnswer:
        if self._usable(user_name) is None:
            return json_answer(401, _GENERIC)
        config = self._instance.config
        token = self._current(self._access_tokens, client, user_name, grant, config.token_lifetime)
        # The first answer of a lifetime already says one second less: 1799, as documented.
        left = max(int(token.ends - self._instance.clock() - 0.001), 0)
        body: dict[str, str | int] = {"access_token": token.text}
        if with_refresh:
            lifetime = config.refresh_token_lifetime
            body["refresh_token"] = self._current(self._refresh_tokens, client, user_name, grant, lifetime).text
        return json_answer(200, {**body, "scope": "useraccount", "token_type": "Bearer", "expires_in": left})

    def _current(self, kept: dict[str, Token], client: OAuthClient, user_name: str, grant: str, lifetime: float) -> Token:
        """Return the token of this client, user and grant that still lives, or a new one."""
        now = self._instance.clock()
        for token in list(kept.values()):
            if token.ends <= now:
                del kept[token.text]
            elif (token.client_id, token.user_name, token.grant) == (client.client_id, user_name, grant):
                return token
        token = Token(secrets.token_urlsafe(64), user_name, client.client_id, grant, now + lifetime)
        kept[token.text] = token
        return token

    def _basic(self, credentials: str) -> Caller | None:
        try:
            user_name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        account = self._login(user_name, password)
        return self._usable(account.user_name) if account is not None and account.basic_allowed else None

    def _login(self, user_name: str, password: str) -> Account | None:
        accounts = self._instance.config.accounts
        account = next((item for item in accounts if item.user_name.casefold() == user_name.casefold()), None)
        if account is not None and _same(account.password, password):
            if self._usable(account.user_name) and self.failed_logins.pop(account.user_name, 0):
                self._note_failures(account.user_name, 0)
            return account
        name = account.user_name if account is not None else user_name
        if account is not None or len(self.failed_logins) < _MOST:
            self.failed_logins[name] = self.failed_logins.get(name, 0) + 1
            self._note_failures(name, self.failed_logins[name])
        return None

    def _note_failures(self, user_name: str, failures: int) -> None:
        row = self._instance.user_by_name(user_name)
        if row is None:
            return
        limit = self._instance.config.lock_after_failed_logins
        values = {"failed_attempts": str(failures) if failures else ""}
        if limit is not None and failures >= limit:
            values["locked_out"] = "true"
        self._instance.set_directly("sys_user", row["sys_id"], values)

    def _usable(self, user_name: str) -> Caller | None:
        row = self._instance.user_by_name(user_name)
        if row is None or row.get("active") != "true" or row.get("locked_out") == "true":
            return None
        roles = self._instance.role_names("sys_user_has_role", "user", row["sys_id"])
        return Caller(row.get("user_name", user_name), row["sys_id"], roles)


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
