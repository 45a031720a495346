"""Every app setting, typed and checked at once, before anything is contacted.

``load_settings`` reads a mapping (the process environment in production) and either returns a complete ``Settings`` or raises
``SettingsFaults`` with every fault found, each naming the setting and what to do. Secrets are kept out of ``repr``.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ServiceNowAuth = Literal["oauth_client_credentials", "oauth_password", "basic", "api_key"]
Scope = Literal["assigned", "all"]
OperatorAuth = Literal["keys", "entra"]

#: What each kind of authentication needs, beside the instance's URL.
CREDENTIALS: dict[ServiceNowAuth, tuple[str, ...]] = {
    "oauth_client_credentials": ("SERVICENOW_CLIENT_ID", "SERVICENOW_CLIENT_SECRET"),
    "oauth_password": ("SERVICENOW_CLIENT_ID", "SERVICENOW_CLIENT_SECRET", "SERVICENOW_USERNAME", "SERVICENOW_PASSWORD"),
    "basic": ("SERVICENOW_USERNAME", "SERVICENOW_PASSWORD"),
    "api_key": ("SERVICENOW_API_KEY",),
}

#: App settings that the app reads, by name. The infrastructure declares exactly these (and the platform's own).
SETTING_NAMES: tuple[str, ...] = (
    "GRAPH_BASE_URL",
    "GRAPH_ACCESS_TOKEN",
    "GRAPH_REPLICATION_GRACE",
    "ENTRA_SERVICE_PRINCIPAL_ID",
    "PROVISIONING_SCOPE",
    "PROVISIONING_SCHEMA",
    "SERVICENOW_INSTANCE_URL",
    "SERVICENOW_AUTH",
    "SERVICENOW_USERNAME",
    "SERVICENOW_PASSWORD",
    "SERVICENOW_CLIENT_ID",
    "SERVICENOW_CLIENT_SECRET",
    "SERVICENOW_API_KEY",
    "SERVICENOW_MAX_CONCURRENCY",
    "NOTIFICATION_URL",
    "NOTIFICATION_CLIENT_STATE",
    "NOTIFICATION_CLIENT_STATE_PREVIOUS",
    "CYCLE_SCHEDULE",
    "SUBSCRIPTION_SCHEDULE",
    "VERIFY_SCHEDULE",
    "DELETE_THRESHOLD",
    "OPERATOR_AUTH",
    "ALERT_EMAIL_FROM",
    "ALERT_EMAIL_TO",
    "ALERT_WEBHOOK_URL",
)

#: Azurite's well-known account on its default ports: public, and the same on every machine (Azurite docs).
DEVELOPMENT_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)
_UNRESOLVED = "@Microsoft.KeyVault("
_CONNECTION_STRING = re.compile(r"(AccountName|QueueEndpoint)=[^;]", re.IGNORECASE)
_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,\-]+")
_OBJECT_ID = re.compile(r"[0-9A-Za-z\-]{1,64}")
_SCOPES: tuple[Scope, ...] = ("assigned", "all")
_OPERATOR_AUTHS: tuple[OperatorAuth, ...] = ("keys", "entra")
_CYCLE_SCHEDULE, _SUBSCRIPTION_SCHEDULE, _VERIFY_SCHEDULE = "0 */5 * * * *", "0 0 * * * *", "0 0 2 * * *"
#: Graph documents 128 characters on one page and 255 on another: the smaller one is safe on both.
_CLIENT_STATE_LENGTH = 128


class SettingsFaults(Exception):
    """The app settings cannot be used. ``faults`` has one sentence for each, and no value of a secret."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Storage:
    """The host's storage account: a connection string (local), or service endpoints reached with an identity (Azure)."""

    connection_string: str = field(default="", repr=False)
    queue_endpoint: str = ""
    table_endpoint: str = ""
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Where the source is, and a fixed token for a local tenant. ``replication_grace`` is in seconds."""

    base_url: str
    access_token: str = field(default="", repr=False)
    service_principal_id: str = ""
    replication_grace: float = 10.0


@dataclass(frozen=True, slots=True)
class ServiceNow:
    """Where the target is and how to sign in. ``max_concurrency`` is requests in flight over all instances of the app."""

    instance_url: str
    auth: ServiceNowAuth
    username: str = ""
    password: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    max_concurrency: int = 4


@dataclass(frozen=True, slots=True)
class Notifications:
    """``url`` is the public base URL, or empty when no subscription can or should be made; ``why_not`` then says why."""

    url: str
    client_states: tuple[str, ...] = field(default=(), repr=False)
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Schedules:
    """NCRONTAB expressions, UTC."""

    cycle: str = _CYCLE_SCHEDULE
    subscriptions: str = _SUBSCRIPTION_SCHEDULE
    verify: str = _VERIFY_SCHEDULE


@dataclass(frozen=True, slots=True)
class Alerts:
    """Where quarantine, held deletes and failures are announced; empty strings announce nowhere."""

    email_from: str = ""
    email_to: str = ""
    webhook_url: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. ``schema_path`` seeds the first start; empty means the packaged default."""

    storage: Storage
    graph: Graph
    servicenow: ServiceNow
    notifications: Notifications
    schedules: Schedules
    scope: Scope
    schema_path: str
    delete_threshold: int
    operator_auth: OperatorAuth
    alerts: Alerts


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine: ``localhost`` or a loopback address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reader:
    """Reads settings one by one and collects what is wrong with them: of each setting the first fault, which the rest follow."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(f"{name} {sentence}" for name, sentence in self._faults.items())

    def fault(self, name: str, sentence: str) -> None:
        """Note what is wrong with a setting; the sentence goes on where the name ends."""
        self._faults.setdefault(name, sentence)

    def text(self, name: str, default: str = "") -> str:
        value = self._environment.get(name, "").strip()
        if value.startswith(_UNRESOLVED):
            self.fault(
                name,
                "is an unresolved Key Vault reference: check that the secret exists and that the app's identity has "
                "the role Key Vault Secrets User on the vault",
            )
            return default
        return value or default

    def choice[T: str](self, name: str, allowed: tuple[T, ...], default: T) -> T:
        value = self.text(name, default)
        for candidate in allowed:
            if value == candidate:
                return candidate
        self.fault(name, f"is '{value}': it must be one of {', '.join(allowed)}")
        return default

    def number[N: (int, float)](self, name: str, default: N, convert: Callable[[str], N], least: N) -> N:
        value = self.text(name)
        if not value:
            return default
        try:
            number = convert(value)
        except ValueError:
            self.fault(name, f"is '{value}': it must be a number of at least {least}")
            return default
        if not least <= number < math.inf:
            self.fault(name, f"is {value}: it must be at least {least}")
            return default
        return number

    def url(self, name: str, default: str = "") -> str:
        value = self.text(name, default).rstrip("/")
        if not value:
            return ""
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
            parts = urlsplit("")
        if not usable:
            self.fault(name, "is not a URL: write it as https://host")
            return ""
        if parts.username or parts.password:
            self.fault(name, "carries credentials: put them into their own settings")
            return ""
        if parts.scheme == "http" and not is_loopback(value):
            self.fault(name, "must use https: plain http is accepted for a loopback address only")
            return ""
        return value

    def schedule(self, name: str, default: str) -> str:
        value = self.text(name, default)
        fields = value.split()
        if len(fields) not in {5, 6} or not all(_CRON_FIELD.fullmatch(part) for part in fields):
            self.fault(name, f"is '{value}': it must be an NCRONTAB expression of six fields, such as '{default}'")
            return default
        return value


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check every setting. Raises ``SettingsFaults`` with all faults at once; contacts nothing."""
    read = _Reader(environment)
    graph = _graph(read)
    settings = Settings(
        storage=_storage(read),
        graph=graph,
        servicenow=_servicenow(read),
        notifications=_notifications(read, graph),
        schedules=Schedules(
            cycle=read.schedule("CYCLE_SCHEDULE", _CYCLE_SCHEDULE),
            subscriptions=read.schedule("SUBSCRIPTION_SCHEDULE", _SUBSCRIPTION_SCHEDULE),
            verify=read.schedule("VERIFY_SCHEDULE", _VERIFY_SCHEDULE),
        ),
        scope=_scope(read, graph),
        schema_path=read.text("PROVISIONING_SCHEMA"),
        delete_threshold=read.number("DELETE_THRESHOLD", 500, int, 0),
        operator_auth=_operator_auth(read),
        alerts=_alerts(read),
    )
    if read.faults:
        raise SettingsFaults(read.faults)
    return settings


def _storage(read: _Reader) -> Storage:
    connection = read.text("AzureWebJobsStorage")
    if connection.rstrip(";").casefold() == "usedevelopmentstorage=true":
        # The host and .NET know this abbreviation, the Python SDKs do not.
        connection = DEVELOPMENT_STORAGE
    if connection:
        if not _CONNECTION_STRING.search(connection):
            read.fault("AzureWebJobsStorage", "is not a connection string: copy it from the storage account's access keys")
        return Storage(connection_string=connection)
    account = read.text("AzureWebJobsStorage__accountName")
    queue = read.url("AzureWebJobsStorage__queueServiceUri") or (f"https://{account}.queue.core.windows.net" if account else "")
    table = read.url("AzureWebJobsStorage__tableServiceUri") or (f"https://{account}.table.core.windows.net" if account else "")
    if not queue or not table:
        read.fault(
            "AzureWebJobsStorage",
            "is missing: set a connection string (UseDevelopmentStorage=true for Azurite), or "
            "AzureWebJobsStorage__accountName, or AzureWebJobsStorage__queueServiceUri and AzureWebJobsStorage__tableServiceUri",
        )
    return Storage(queue_endpoint=queue, table_endpoint=table, client_id=read.text("AzureWebJobsStorage__clientId"))


def _graph(read: _Reader) -> Graph:
    base_url = read.url("GRAPH_BASE_URL", "https://graph.microsoft.com/v1.0")
    token = read.text("GRAPH_ACCESS_TOKEN")
    if token and base_url and not is_loopback(base_url):
        read.fault("GRAPH_ACCESS_TOKEN", "is accepted only when GRAPH_BASE_URL is a loopback address: remove it")
    principal = read.text("ENTRA_SERVICE_PRINCIPAL_ID")
    if principal and not _OBJECT_ID.fullmatch(principal):
        read.fault("ENTRA_SERVICE_PRINCIPAL_ID", "is not an object id: take the enterprise application's, not its name")
    grace = read.number("GRAPH_REPLICATION_GRACE", 10.0, float, 0.0)
    return Graph(base_url=base_url, access_token=token, service_principal_id=principal, replication_grace=grace)


def _scope(read: _Reader, graph: Graph) -> Scope:
    default: Scope = "assigned" if graph.service_principal_id else "all"
    scope = read.choice("PROVISIONING_SCOPE", _SCOPES, default)
    if scope == "assigned" and not graph.service_principal_id:
        read.fault(
            "PROVISIONING_SCOPE",
            "is 'assigned' but ENTRA_SERVICE_PRINCIPAL_ID is missing: set the object id of the enterprise "
            "application whose assignments are the scope, or PROVISIONING_SCOPE=all",
        )
    return scope


def _servicenow(read: _Reader) -> ServiceNow:
    url = read.url("SERVICENOW_INSTANCE_URL")
    if not url:
        read.fault("SERVICENOW_INSTANCE_URL", "is missing: set it to https://NAME.service-now.com")
    kind = read.text("SERVICENOW_AUTH")
    if not kind:
        read.fault("SERVICENOW_AUTH", f"is missing: set it to one of {', '.join(CREDENTIALS)}")
        auth: ServiceNowAuth = "basic"
    else:
        auth = read.choice("SERVICENOW_AUTH", tuple(CREDENTIALS), "basic")
        if kind == auth:
            for name in CREDENTIALS[auth]:
                if not read.text(name):
                    read.fault(name, f"is missing: SERVICENOW_AUTH={kind} needs it")
    return ServiceNow(
        instance_url=url,
        auth=auth,
        username=read.text("SERVICENOW_USERNAME"),
        password=read.text("SERVICENOW_PASSWORD"),
        client_id=read.text("SERVICENOW_CLIENT_ID"),
        client_secret=read.text("SERVICENOW_CLIENT_SECRET"),
        api_key=read.text("SERVICENOW_API_KEY"),
        max_concurrency=read.number("SERVICENOW_MAX_CONCURRENCY", 4, int, 1),
    )


def _notifications(read: _Reader, graph: Graph) -> Notifications:
    host = read.text("WEBSITE_HOSTNAME")
    # Locally the Functions host sets WEBSITE_HOSTNAME to localhost:7071, which says nothing about what Graph can reach.
    platform_url = f"https://{host}" if host and not host.startswith(("localhost", "127.")) else ""
    url = read.url("NOTIFICATION_URL", platform_url)
    states = tuple(
        state for name in ("NOTIFICATION_CLIENT_STATE", "NOTIFICATION_CLIENT_STATE_PREVIOUS") if (state := read.text(name))
    )
    if any(len(state) > _CLIENT_STATE_LENGTH for state in states):
        read.fault("NOTIFICATION_CLIENT_STATE", f"must not be longer than {_CLIENT_STATE_LENGTH} characters")
    if not url:
        why = "NOTIFICATION_URL is not set: changes arrive with the cycle only"
        return Notifications(url="", client_states=states, why_not=why)
    if is_loopback(url) and graph.base_url and not is_loopback(graph.base_url):
        why = "NOTIFICATION_URL is a loopback address, which Microsoft Graph cannot reach: changes arrive with the cycle only"
        return Notifications(url="", client_states=states, why_not=why)
    if not read.text("NOTIFICATION_CLIENT_STATE"):
        read.fault(
            "NOTIFICATION_CLIENT_STATE",
            "is missing: set a random secret of up to 128 characters; every notification must carry it",
        )
    return Notifications(url=url, client_states=states)


def _operator_auth(read: _Reader) -> OperatorAuth:
    kind = read.choice("OPERATOR_AUTH", _OPERATOR_AUTHS, "keys")
    if kind == "entra" and read.text("WEBSITE_AUTH_ENABLED").lower() != "true":
        read.fault(
            "OPERATOR_AUTH",
            "is 'entra' but App Service authentication is off (WEBSITE_AUTH_ENABLED is not true): anybody could "
            "forge the identity header. Turn authentication on, or set OPERATOR_AUTH=keys",
        )
    return kind


def _alerts(read: _Reader) -> Alerts:
    sender, recipient = read.text("ALERT_EMAIL_FROM"), read.text("ALERT_EMAIL_TO")
    if bool(sender) != bool(recipient):
        read.fault("ALERT_EMAIL_FROM", "and ALERT_EMAIL_TO belong together: set both or neither")
    return Alerts(email_from=sender, email_to=recipient, webhook_url=read.url("ALERT_WEBHOOK_URL"))
