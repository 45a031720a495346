"""The plain way, for comparison: for each user look up by user_name, then create or update, four at a time, through PySNC.

PySNC is ServiceNow's own Python client. Each thread has a client of its own: requests of one session wait for each other
(KB0655956). References are left out, in the baseline's favour.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pysnc import ServiceNowClient
from pysnc.exceptions import RoleException

from sandbox.bench.certificate import write_certificate
from sandbox.bench.ends import BenchError, Target
from sandbox.bench.sizes import QUERY_SECONDS, SLOTS
from sandbox.bench.stage import run
from sandbox.processes import REPOSITORY, ChildProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ACCOUNT: Final = ("entra.provisioning", "provisioning")
#: Graph attribute -> column, as far as no reference is needed.
COLUMNS: Final[Mapping[str, str]] = {
    "userPrincipalName": "user_name",
    "givenName": "first_name",
    "surname": "last_name",
    "mail": "email",
    "jobTitle": "title",
    "mobilePhone": "mobile_phone",
    "streetAddress": "street",
    "city": "city",
    "state": "state",
    "postalCode": "zip",
    "country": "country",
    "employeeId": "employee_number",
}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline run: how many users, wall time in seconds, requests to ServiceNow, share of the write capacity (0 to 1)."""

    users: int
    seconds: float
    requests: int
    capacity: float

    @property
    def per_second(self) -> float:
        return self.users / self.seconds

    @property
    def per_user(self) -> float:
        return self.requests / self.users


async def baselines(people: Sequence[Mapping[str, Any]], *, write: float, again: int = 0) -> list[Baseline]:
    """Bring people into an empty instance, then the first ``again`` of them once more, unchanged.

    ``people`` are Graph's users with the attributes of ``COLUMNS``; ``write`` is the time of a write in seconds.
    """
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-bench-")))
        pem = await asyncio.to_thread(write_certificate, directory)
        port = free_port()
        command = [sys.executable, "-m", "sandbox.bench.https_instance", "--pem", str(pem), "--port", str(port)]
        command += ["--latency-query", str(QUERY_SECONDS), "--latency-write", str(write)]
        await run(stack, ChildProcess("https-instance", command, directory=REPOSITORY), port)
        target = Target(f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=str(pem)))
        stack.push_async_callback(target.aclose)
        runs = [await _measured(target, port, pem, people, write)]
        if again:
            runs.append(await _measured(target, port, pem, people[:again], write))
        return runs


async def _measured(target: Target, port: int, pem: Path, people: Sequence[Mapping[str, Any]], write: float) -> Baseline:
    await target.forget_requests()
    started = time.monotonic()
    await asyncio.to_thread(_bring_all, f"https://127.0.0.1:{port}", pem, people)
    seconds = time.monotonic() - started
    counts = await target.requests()
    # 403: the second insert of a name that the column has cut (see _bring).
    if {status for status in counts["statuses"] if not status.startswith("2")} - {"403"}:
        raise BenchError(f"the baseline was refused: {counts['statuses']}")
    committed = sum(counts["commits"].values())
    return Baseline(len(people), seconds, counts["http_total"], committed * write / (SLOTS * seconds))


def _bring_all(url: str, pem: Path, people: Sequence[Mapping[str, Any]]) -> None:
    opened: list[ServiceNowClient] = []
    own = threading.local()

    def client() -> ServiceNowClient:
        if not hasattr(own, "client"):
            own.client = ServiceNowClient(url, _ACCOUNT, verify=str(pem))
            # REQUESTS_CA_BUNDLE and proxies of the environment would win over what is given here.
            own.client.session.trust_env = False
            opened.append(own.client)
        return own.client

    with ThreadPoolExecutor(SLOTS) as pool:
        for _ in pool.map(lambda person: _bring(client, person), people):
            pass
    for used in opened:
        used.session.close()


def _bring(client: Callable[[], ServiceNowClient], person: Mapping[str, Any]) -> None:
    """Look up, then create or update."""
    user = client().GlideRecord("sys_user")
    found = user.get("user_name", person["userPrincipalName"])
    if not found:
        user.initialize()
    for attribute, column in COLUMNS.items():
        setattr(user, column, person.get(attribute) or "")
    if found:
        user.update()
    else:
        # A name that the column has cut is not found by its whole, and its second insert is refused: the plain way stops there.
        with contextlib.suppress(RoleException):
            user.insert()
