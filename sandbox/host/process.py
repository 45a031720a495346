"""The Functions host as a process of its own: for the demo, the bench and the tests, which kill it and start it again."""

from __future__ import annotations

import asyncio
import atexit
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sandbox.processes import ProcessError, part_process

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

READY_LINE: Final = "Functions host ready on "
_READY: Final = re.compile(rf"^{re.escape(READY_LINE)}(\S+)$", re.MULTILINE)


class HostProcess:
    """``python -m sandbox host`` for an app, with these settings in its environment; no settings file unless one is named.

    ``async with HostProcess(app_dir, settings) as host`` or ``await start()``; after ``kill`` or ``terminate`` it can be started
    again. Port 0: a free one, chosen at each start. Hosts that share a ``keys_file`` share their keys. ``queue_lease`` in
    seconds: how soon a killed host's messages come back. ``arguments`` are further options of the command.
    """

    def __init__(
        self,
        app_dir: Path,
        settings: Mapping[str, str],
        *,
        port: int = 0,
        settings_file: Path | None = None,
        keys_file: Path | None = None,
        queue_lease: int = 600,
        log_level: str = "info",
        log_file: Path | None = None,
        name: str = "host",
        arguments: Sequence[str] = (),
    ) -> None:
        self._keys_file = keys_file or _temporary_directory() / "keys.json"
        options = ["--app", str(app_dir.resolve()), "--port", str(port), "--log-level", log_level]
        options += ["--settings", str(settings_file.resolve())] if settings_file else ["--environment-only"]
        options += ["--keys-file", str(self._keys_file.resolve()), "--queue-lease", str(queue_lease), *arguments]
        self._child = part_process("host", options, environment=settings, log_file=log_file, name=name)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT`` of the latest start."""
        found = _READY.findall(self._child.logs())
        if not found:
            raise ProcessError("the host has not been ready yet")
        return str(found[-1])

    @property
    def keys(self) -> Mapping[str, str]:
        """``master`` for the admin API, ``default`` for every function."""
        document = json.loads(self._keys_file.read_text(encoding="utf-8"))
        return {"master": document["master"], "default": document["default"]}

    @property
    def headers(self) -> dict[str, str]:
        """The request header that opens every function."""
        return {"x-functions-key": self.keys["default"]}

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._child.running

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._child.returncode

    def logs(self) -> str:
        """Everything that the host and the app have written so far."""
        return self._child.logs()

    async def start(self, timeout: float = 60.0) -> Self:  # noqa: ASYNC109 - bounds a wait in a thread, which cannot be cancelled
        """Start and wait until it listens; ProcessError with the end of the log if it does not."""
        seen = len(_READY.findall(self._child.logs()))
        await asyncio.to_thread(self._child.start, lambda: len(_READY.findall(self._child.logs())) > seen, timeout=timeout)
        return self

    async def terminate(self) -> int:
        """Stop cleanly (SIGTERM): functions in flight end, messages go back; the exit code, 0."""
        return await asyncio.to_thread(self._child.terminate)

    async def kill(self) -> int:
        """End it as a crash would (SIGKILL); the exit code, -9."""
        return await asyncio.to_thread(self._child.kill)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.signal(number)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.terminate()


def _temporary_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="sandbox-host-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
