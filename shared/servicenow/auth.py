"""Who we are to the instance: basic, OAuth 2.0 (client credentials or password), or an API key.

A 401 is not always a wrong password (access policies, interactive users under hardening, KB3041645), but every repetition counts
towards locking the account: once refused, this object refuses by itself until :meth:`Auth.reset`.
OAuth facts: ServiceNow documentation "OAuth API request parameters", KB2058936. A repeated token request returns the same token
with its remaining lifetime, so the answer's ``expires_in`` is the only truth.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, override

from shared.errors import CredentialsError, ProtocolError
from shared.servicenow.answers import Asked, believe, parsed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shared.servicenow.answers import Answer

TOKEN_PATH: Final = "/oauth_token.do"  # noqa: S105  a path
KINDS: Final = ("oauth_client_credentials", "oauth_password", "basic", "api_key")
_MARGIN = 60.0
_UNSTATED_LIFETIME = 600.0
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_ERROR_WORD = re.compile(r"[A-Za-z0-9_ .\-]{1,60}")
_ACTION = "Check SERVICENOW_AUTH and its credentials, and the access policies and lock-out of the integration user."
_REFUSED_STATUSES = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

type PostForm = Callable[[str, Mapping[str, str]], Awaitable[Answer]]
"""Sends a form to a path of the instance, without authentication."""


class Auth(Protocol):
    """Credentials as headers, and what is known of their acceptance."""

    async def headers(self, post_form: PostForm) -> dict[str, str]:
        """The headers that prove who we are. Raises CredentialsError once refused, UnavailableError if no token is to be had."""

    def refused(self, sent: Mapping[str, str]) -> bool:
        """A 401 came for these headers. True: ask for headers again and retry once; False: they are refused for good."""

    def accepted(self) -> None:
        """The instance took the credentials."""

    def reset(self) -> None:
        """Forget a refusal and every token: an operator has looked at the credentials."""


class _StickyAuth(ABC):
    """What all kinds share: the memory of a refusal."""

    def __init__(self) -> None:
        self._refusal: CredentialsError | None = None
        self._proven = False

    async def headers(self, post_form: PostForm) -> dict[str, str]:
        self._stop_if_refused()
        return await self._fresh_headers(post_form)

    def refused(self, sent: Mapping[str, str]) -> bool:
        if self._refusal is not None:
            return False
        if self._superseded(sent):
            return True
        if self._proven:
            # They worked before: one more try, in case the session and not the secret was refused (KB0657578).
            self._proven = False
            self._discard()
            return True
        self._refuse("ServiceNow answered 401")
        return False

    def accepted(self) -> None:
        self._proven = True

    def reset(self) -> None:
        self._refusal = None
        self._proven = False
        self._discard()

    @abstractmethod
    async def _fresh_headers(self, post_form: PostForm) -> dict[str, str]: ...

    @abstractmethod
    def _superseded(self, sent: Mapping[str, str]) -> bool:
        """Whether other headers have taken the place of those sent since."""

    @abstractmethod
    def _discard(self) -> None: ...

    def _refuse(self, reason: str) -> CredentialsError:
        self._refusal = CredentialsError(reason, recommended_action=_ACTION)
        return self._refusal

    def _stop_if_refused(self) -> None:
        if self._refusal is not None:
            # A new object each time: a shared one would collect the tracebacks of all who raise it.
            raise CredentialsError(self._refusal.reason, recommended_action=_ACTION)


class _FixedHeader(_StickyAuth):
    def __init__(self, name: str, value: str) -> None:
        super().__init__()
        self._headers = {name: value}

    @override
    async def _fresh_headers(self, post_form: PostForm) -> dict[str, str]:
        return dict(self._headers)

    @override
    def _superseded(self, sent: Mapping[str, str]) -> bool:
        return False

    @override
    def _discard(self) -> None:
        """A fixed secret has nothing to renew."""


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    good_until: float


class _OAuth(_StickyAuth):
    """A bearer token, fetched once for all who wait, renewed a minute before its end."""

    def __init__(self, first_grant: Mapping[str, str], client: Mapping[str, str], clock: Callable[[], float]) -> None:
        super().__init__()
        self._first_grant = dict(first_grant)
        self._client = dict(client)
        self._clock = clock
        self._token: _Token | None = None
        self._refresh_token: str | None = None
        self._renewal: asyncio.Task[_Token] | None = None
        # A freshly fetched token that is refused may be a leftover of an earlier one: one new request is due (RFC 6750, 3.1).
        self._proven = True

    @override
    def reset(self) -> None:
        super().reset()
        self._refresh_token = None
        self._proven = True

    @override
    async def _fresh_headers(self, post_form: PostForm) -> dict[str, str]:
        token = self._token
        if token is None or self._clock() >= token.good_until:
            # Only the renewal itself stores the token: one who waited for it may be late, after it was refused to another.
            token = await self._single_flight(post_form)
        return {"Authorization": token.header}

    @override
    def _superseded(self, sent: Mapping[str, str]) -> bool:
        return self._token is None or sent.get("Authorization") != self._token.header

    @override
    def _discard(self) -> None:
        self._token = None

    async def _single_flight(self, post_form: PostForm) -> _Token:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(post_form))
            self._renewal.add_done_callback(self._renewed)
        return await asyncio.shield(self._renewal)

    def _renewed(self, task: asyncio.Task[_Token]) -> None:
        self._renewal = None
        if not task.cancelled() and task.exception() is None:
            self._token = task.result()

    async def _renew(self, post_form: PostForm) -> _Token:
        if self._refresh_token is not None:
            grant = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
            answer = await post_form(TOKEN_PATH, grant | self._client)
            if not _is_refusal(answer):
                return self._read_token(answer)
            self._refresh_token = None
        answer = await post_form(TOKEN_PATH, self._first_grant | self._client)
        if _is_refusal(answer):
            raise self._refuse(f"ServiceNow refused the token request: {_error_words(answer)}")
        return self._read_token(answer)

    def _read_token(self, answer: Answer) -> _Token:
        payload = believe(answer, Asked("GET", "oauth_token"), now=self._clock())
        access, refresh = payload.get("access_token"), payload.get("refresh_token")
        if not isinstance(access, str) or not _HEADER_SAFE.fullmatch(access):
            raise ProtocolError("the token endpoint answered without a usable access_token", recommended_action=_ACTION)
        if isinstance(refresh, str) and refresh:
            self._refresh_token = refresh
        lifetime = _seconds(payload.get("expires_in"))
        # The same token comes back until its end: renewing earlier than that, in its last minute, would ask again every time.
        kept = lifetime - _MARGIN if lifetime > _MARGIN else lifetime
        return _Token(f"Bearer {access}", self._clock() + kept)


def build_auth(
    kind: str,
    *,
    username: str = "",
    password: str = "",
    client_id: str = "",
    client_secret: str = "",
    api_key: str = "",
    clock: Callable[[], float] = time.time,
) -> Auth:
    """The credentials of SERVICENOW_AUTH. Raises CredentialsError naming what is missing, never what was given."""
    if kind == "basic":
        return basic(username, password)
    if kind == "api_key":
        return _keyed(api_key)
    if kind == "oauth_client_credentials":
        return oauth_client_credentials(client_id, client_secret, clock=clock)
    if kind == "oauth_password":
        return oauth_password(client_id, client_secret, username, password, clock=clock)
    raise CredentialsError("SERVICENOW_AUTH is none of " + ", ".join(KINDS))


def basic(username: str, password: str) -> Auth:
    """``Authorization: Basic``. RFC 7617: no colon in the user name, no control characters."""
    _demand(SERVICENOW_USERNAME=username, SERVICENOW_PASSWORD=password)
    if ":" in username:
        raise CredentialsError("SERVICENOW_USERNAME has a colon, which basic authentication cannot carry")
    return _FixedHeader("Authorization", "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode())


def api_key(key: str) -> Auth:
    """``x-sn-apikey``; the header, not the query parameter, which would be logged on the way."""
    return _keyed(key)


def oauth_client_credentials(client_id: str, client_secret: str, *, clock: Callable[[], float] = time.time) -> Auth:
    """Acts as the registry entry's "OAuth Application User"; there is no refresh token (KB2058936)."""
    _demand(SERVICENOW_CLIENT_ID=client_id, SERVICENOW_CLIENT_SECRET=client_secret)
    client = {"client_id": client_id, "client_secret": client_secret}
    return _OAuth({"grant_type": "client_credentials"}, client, clock)


def oauth_password(
    client_id: str,
    client_secret: str,
    username: str,
    password: str,
    *,
    clock: Callable[[], float] = time.time,
) -> Auth:
    """The password once, then the refresh token; the password again when that is refused."""
    _demand(
        SERVICENOW_CLIENT_ID=client_id,
        SERVICENOW_CLIENT_SECRET=client_secret,
        SERVICENOW_USERNAME=username,
        SERVICENOW_PASSWORD=password,
    )
    client = {"client_id": client_id, "client_secret": client_secret}
    return _OAuth({"grant_type": "password", "username": username, "password": password}, client, clock)


def _keyed(key: str) -> Auth:
    _demand(SERVICENOW_API_KEY=key)
    if not _HEADER_SAFE.fullmatch(key):
        raise CredentialsError("SERVICENOW_API_KEY has characters that a header cannot carry")
    return _FixedHeader("x-sn-apikey", key)


def _demand(**settings: str) -> None:
    missing = [name for name, value in settings.items() if not value]
    if missing:
        raise CredentialsError(f"{', '.join(missing)} is empty", recommended_action="Set it in the app settings.")


def _is_refusal(answer: Answer) -> bool:
    """Whether the endpoint looked at the grant and said no: 400, 401 or 403, or an OAuth error in a 200."""
    if answer.status in _REFUSED_STATUSES:
        return True
    return answer.status == HTTPStatus.OK and answer.is_json and "error" in (parsed(answer) or {})


def _error_words(answer: Answer) -> str:
    """``error`` and ``error_description`` where they are plain words, with the status: nothing that could echo a secret."""
    payload = parsed(answer) or {}
    words = [payload.get("error"), payload.get("error_description")]
    plain = [word for word in words if isinstance(word, str) and _ERROR_WORD.fullmatch(word)]
    return " ".join([str(answer.status), *plain])


def _seconds(stated: Any) -> float:
    try:
        return max(1.0, float(stated))
    except (TypeError, ValueError):
        return _UNSTATED_LIFETIME
