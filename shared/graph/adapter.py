"""The SDK's side of the client: who signs, which pipeline sends. Imported at the first request, not before (cold start).

msgraph-sdk's request adapter sends; its model classes are never touched: they cost seconds per page and cannot tell a cleared
attribute from an absent one. The SDK's own retries are off, because they sleep inside the call.
"""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import httpx
from azure.core.exceptions import AzureError, ClientAuthenticationError
from kiota_abstractions.authentication import AccessTokenProvider, AllowedHostsValidator, BaseBearerTokenAuthenticationProvider
from kiota_abstractions.native_response_handler import NativeResponseHandler
from kiota_authentication_azure.azure_identity_access_token_provider import AzureIdentityAccessTokenProvider
from kiota_http.middleware.options import RedirectHandlerOption, ResponseHandlerOption, RetryHandlerOption
from kiota_http.observability_options import ObservabilityOptions

from shared.errors import CredentialsError, FateUnknownError, ProtocolError, UnavailableError
from shared.graph.answers import SIGN_IN_ADVICE, Answer, read_answer
from shared.graph.origins import graph_scope, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.core.credentials_async import AsyncTokenCredential

    from shared.graph.answers import Ask

_CONNECT_SECONDS: Final = 10.0
_KEPT_CONNECTIONS: Final = 20


class Connection:
    """An open way to Graph: the SDK's request builders describe requests, its adapter signs and sends them."""

    def __init__(
        self,
        base_url: str,
        *,
        access_token: str | None,
        credential: AsyncTokenCredential | None,
        transport: httpx.AsyncBaseTransport | None,
        timeout_seconds: float,
    ) -> None:
        host = urlsplit(base_url).hostname or ""
        self._owned_credential: AsyncTokenCredential | None = None
        if access_token is not None:
            tokens: AccessTokenProvider = _FixedToken(access_token, host)
        else:
            if credential is None:
                credential = self._owned_credential = _default_credential()
            tokens = _AzureIdentity(credential, graph_scope(base_url), host)
        # A proxy named in the environment must not see a loopback request and its token.
        self._http = httpx.AsyncClient(
            transport=transport,
            trust_env=not is_loopback(base_url),
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=_KEPT_CONNECTIONS),
            headers={"User-Agent": "entra-servicenow-provisioning"},
        )
        # Taken before the SDK wraps them: its wrapper does not pass aclose() on, and connections would stay open.
        self._transports = [self._http._transport, *self._http._mounts.values()]  # noqa: SLF001 - httpx has no public way
        # mypy would follow msgraph into 16,000 generated files; through importlib it is Any, and only here.
        msgraph: Any = importlib.import_module("msgraph")
        core: Any = importlib.import_module("msgraph_core")
        adapter_module: Any = importlib.import_module("msgraph.graph_request_adapter")
        core.GraphClientFactory.create_with_default_middleware(
            client=self._http,
            options={
                **adapter_module.options,
                RetryHandlerOption.get_key(): RetryHandlerOption(max_retries=0),
                RedirectHandlerOption.get_key(): RedirectHandlerOption(should_redirect=False),
            },
        )
        self._adapter: Any = msgraph.GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(tokens), self._http)
        self._adapter.base_url = base_url
        # Urls hold people's ids and delta tokens: neither the SDK's spans nor httpx's own log lines may carry them.
        self._adapter.observability_options = ObservabilityOptions(include_euii_attributes=False)
        _quieten_httpx()
        self._builders: Any = msgraph.GraphServiceClient(request_adapter=self._adapter)
        self._as_it_came = ResponseHandlerOption(NativeResponseHandler())

    def pick(self, path: Callable[[Any], Any]) -> Any:
        """The request builder at the end of ``path`` (``lambda graph: graph.users.delta``), from the SDK's GraphServiceClient."""
        with warnings.catch_warnings():
            # Every builder's module warns about a class of its own when it is imported: nothing for this app to change.
            warnings.simplefilter("ignore", DeprecationWarning)
            return path(self._builders)

    async def send(self, ask: Ask) -> Answer:
        """Sign and send.

        Raises CredentialsError where no token can be had, UnavailableError where no answer came, FateUnknownError where the
        answer to a write was lost, and ProtocolError for a link that cannot be a url.
        """
        ask.info.add_request_options([self._as_it_came])
        # The SDK keeps a signature that is there; one from an earlier sending may have expired.
        ask.info.headers.remove("Authorization")
        try:
            response = cast("httpx.Response", await self._adapter.send_primitive_async(ask.info, "bytes", {}))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            reason = f"{ask.method} {ask.route} could not reach Graph ({type(error).__name__}, request-id none)"
            raise UnavailableError(reason) from error
        except httpx.RequestError as error:
            reason = f"{ask.method} {ask.route} got no whole answer from Graph ({type(error).__name__}, request-id none)"
            raise (FateUnknownError(reason) if ask.writes else UnavailableError(reason)) from error
        except httpx.InvalidURL as error:
            raise ProtocolError(f"{ask.method} {ask.route} has a link that is no url ({error})") from error
        return read_answer(response.status_code, response.headers, response.content)

    async def aclose(self) -> None:
        """Close the connections, and the credential if it is ours."""
        await self._http.aclose()
        for transport in self._transports:
            if transport is not None:
                await transport.aclose()
        if self._owned_credential is not None:
            await self._owned_credential.close()


class _FixedToken(AccessTokenProvider):
    """The fixed token of a local tenant; sent to that tenant's host only."""

    def __init__(self, token: str, host: str) -> None:
        self._token = token
        self._hosts = AllowedHostsValidator([host])

    async def get_authorization_token(
        self,
        uri: str,
        additional_authentication_context: dict[str, Any] | None = None,
    ) -> str:
        del additional_authentication_context
        return self._token if self._hosts.is_url_host_valid(uri) else ""

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return self._hosts


class _AzureIdentity(AccessTokenProvider):
    """Tokens from azure-identity, with its failures as this app's errors."""

    def __init__(self, credential: AsyncTokenCredential, scope: str, host: str) -> None:
        self._inner = AzureIdentityAccessTokenProvider(credential, None, scopes=[scope], allowed_hosts=[host])

    async def get_authorization_token(
        self,
        uri: str,
        additional_authentication_context: dict[str, Any] | None = None,
    ) -> str:
        try:
            token = await self._inner.get_authorization_token(uri, additional_authentication_context or {})
        except ClientAuthenticationError as error:
            raise CredentialsError(
                f"No token for Graph: {type(error).__name__} {_entra_codes(error)}",
                recommended_action=SIGN_IN_ADVICE,
            ) from error
        except (AzureError, OSError) as error:
            raise UnavailableError(f"No token for Graph now: {type(error).__name__}") from error
        except ValueError as error:
            raise CredentialsError("No token for Graph: a claims challenge or a credential setting cannot be read") from error
        if not token:
            raise CredentialsError("No token for Graph: the credential gave an empty one", recommended_action=SIGN_IN_ADVICE)
        return token

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return self._inner.get_allowed_hosts_validator()


def _default_credential() -> AsyncTokenCredential:
    # 200 ms of imports that a local tenant never needs.
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


def _entra_codes(error: ClientAuthenticationError) -> str:
    """The AADSTS codes of a refused sign-in: what an operator searches for, without the rest of the text."""
    return ", ".join(dict.fromkeys(re.findall(r"AADSTS\d+", str(error)))) or "(no AADSTS code)"


def _quieten_httpx() -> None:
    """Keep httpx's INFO line, which holds the whole url, out of the logs unless somebody asked for it by level."""
    logger = logging.getLogger("httpx")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
