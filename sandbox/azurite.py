"""Azurite, Microsoft's storage emulator, as the sandbox's queues and tables.

Source: Azure Storage docs, "Use the Azurite emulator for local Azure Storage development", command-line options. The API
version check is off because the Python SDKs speak newer versions than Azurite knows; nothing used here differs.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sandbox.processes import ChildProcess, ProcessError, answers, free_port

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

DEFAULT_PORTS: Final = (10000, 10001, 10002)
_INSTALL: Final = Path(__file__).parent / "npm"
_START_TIMEOUT: Final = 60.0
# It waits for its clients to hang up, which need not happen; what is on disk is saved every 5 s.
_STOP_TIMEOUT: Final = 6.0
_ATTEMPTS: Final = 3
# The emulator's one fixed account and key are public and the same on every machine (Azurite docs, "Well-known storage account").
_ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(blob_port: int, queue_port: int, table_port: int) -> str:
    """The connection string of an Azurite on this machine; with the default ports, what ``UseDevelopmentStorage=true`` means."""
    endpoints = (("Blob", blob_port), ("Queue", queue_port), ("Table", table_port))
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};" + "".join(
        f"{service}Endpoint=http://127.0.0.1:{port}/{_ACCOUNT};" for service, port in endpoints
    )


class Azurite:
    """One Azurite: ``async with Azurite() as storage``, or ``start`` and ``stop``.

    Without a ``directory`` everything is in memory and gone at the end. ``ports`` are blob, queue and table; free ones if None.
    ProcessError if Node.js or the installation is missing, or if it does not answer.
    """

    def __init__(self, directory: Path | None = None, *, ports: tuple[int, int, int] | None = None) -> None:
        self._directory = directory
        self._ports = ports
        self._process: ChildProcess | None = None

    @property
    def connection_string(self) -> str:
        """For ``AzureWebJobsStorage`` and the Azure SDKs."""
        if self._ports is None:
            raise ProcessError("Azurite has not been started")
        return connection_string(*self._ports)

    def start(self) -> Self:
        """Start and wait until all three services answer; a stopped one starts again on the same ports."""
        node, script = _installation()
        chosen = self._ports
        for attempt in range(1, _ATTEMPTS + 1):
            ports = chosen or (free_port(), free_port(), free_port())
            taken = [port for port in ports if answers(port)]
            if taken and chosen:
                raise ProcessError(
                    f"Azurite cannot start: port {taken[0]} is in use (another Azurite? Stop it or choose other ports)"
                )
            self._process = ChildProcess("azurite", self._command(node, script, ports))
            try:
                self._process.start(lambda ports=ports: all(map(answers, ports)), timeout=_START_TIMEOUT)  # type: ignore[misc]
            except ProcessError:
                # Somebody may have taken a free port between the look and the start.
                if chosen or attempt == _ATTEMPTS:
                    raise
            else:
                self._ports = ports
                break
        return self

    def stop(self) -> None:
        """End it; what was on disk stays there."""
        if self._process is not None and self._process.running:
            self._process.terminate(_STOP_TIMEOUT)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None and self._process.running:
            self._process.kill()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _command(self, node: str, script: Path, ports: tuple[int, int, int]) -> list[str]:
        options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        for service, port in zip(("blob", "queue", "table"), ports, strict=True):
            options += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
        options += ["--inMemoryPersistence"] if self._directory is None else ["--location", str(self._directory)]
        return [node, "--require", str(_INSTALL / "end-with-parent.cjs"), str(script), *options]


def _installation() -> tuple[str, Path]:
    node = shutil.which("node")
    if node is None:
        raise ProcessError("Azurite needs Node.js: install node and npm, then run 'make setup'")
    script = _INSTALL / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if not script.exists():
        raise ProcessError(f"Azurite is not installed: run 'make setup' (npm ci in {_INSTALL})")
    return node, script


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of ``python -m sandbox azurite``."""
    parser.add_argument("--directory", type=Path, help="keep data here (in memory otherwise)")
    for service, port in zip(("blob", "queue", "table"), DEFAULT_PORTS, strict=True):
        parser.add_argument(f"--{service}-port", type=int, default=port, help="(%(default)s)")


async def run(args: Namespace) -> int:
    """Run until cancelled."""
    async with Azurite(args.directory, ports=(args.blob_port, args.queue_port, args.table_port)) as storage:
        print(f"Azurite answers. AzureWebJobsStorage={storage.connection_string}", flush=True)
        await asyncio.Event().wait()
    return 0
