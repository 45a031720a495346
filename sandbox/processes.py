"""Processes that the sandbox starts: waited for until they are ready, ended in order, never left behind.

A child reads its standard input, a pipe that only the parent holds: when the parent ends, however it ends, the child sees the
end of the pipe and ends too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[1]
_POLL = 0.02
_LOG_TAIL = 4000
_alive: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


class ProcessError(Exception):
    """A process could not be started, or ended before it was ready; the message holds the end of its log."""


class ChildProcess:
    """A process with its output in a log file. ``environment`` is added to this process's own."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        log_file: Path | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment or {})
        self._directory = directory
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; ProcessError before the start."""
        return self._running_or_ended.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def logs(self) -> str:
        """Everything that the process has written so far, starts before included."""
        return self._log_file.read_text(encoding="utf-8", errors="replace") if self._log_file and self._log_file.exists() else ""

    def start(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Start and wait until ``ready()``; ProcessError, with the log's end, if it ends or takes longer than ``timeout`` s."""
        if self.running:
            raise ProcessError(f"{self.name} is running already")
        if self._process is not None:
            self._reap()
        if self._log_file is None:
            descriptor, name = tempfile.mkstemp(prefix=f"sandbox-{self.name}-", suffix=".log")
            os.close(descriptor)
            self._log_file = Path(name)
            atexit.register(self._log_file.unlink, missing_ok=True)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the sandbox's own commands
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment},
                    cwd=self._directory,
                    # Ctrl-C reaches the parent alone, which then ends its children in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessError(f"{self.name} could not be started ({self._command[0]}): {error}") from error
        _alive.add(self)
        deadline = time.monotonic() + timeout
        while not ready():
            code = self._process.poll()
            if code is not None:
                self._reap()
                raise ProcessError(f"{self.name} ended with exit code {code} before it was ready:\n{self.logs()[-_LOG_TAIL:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise ProcessError(f"{self.name} was not ready within {timeout:g} s:\n{self.logs()[-_LOG_TAIL:]}")
            time.sleep(_POLL)

    def terminate(self, timeout: float = 45.0) -> int:
        """Ask the process to end (SIGTERM), kill it if it has not within ``timeout`` s; the exit code."""
        self.signal(signal.SIGTERM)
        try:
            self._running_or_ended.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()
        return self._reap()

    def kill(self) -> int:
        """End the process as a crash would (SIGKILL); the exit code, -9."""
        self.signal(signal.SIGKILL)
        self._running_or_ended.wait()
        return self._reap()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is alive."""
        with contextlib.suppress(ProcessLookupError):
            self._running_or_ended.send_signal(number)

    def _reap(self) -> int:
        process = self._running_or_ended
        if process.stdin is not None:
            process.stdin.close()
        _alive.discard(self)
        return process.wait()

    @property
    def _running_or_ended(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessError(f"{self.name} has not been started")
        return self._process


def part_process(
    part: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    log_file: Path | None = None,
    name: str | None = None,
) -> ChildProcess:
    """``python -m sandbox PART ...`` as a process that ends with this one; not yet started."""
    command = [sys.executable, "-m", "sandbox", "--end-with-parent", part, *arguments]
    variables = {**(environment or {}), "PYTHONUNBUFFERED": "1"}
    return ChildProcess(name or part, command, environment=variables, directory=REPOSITORY, log_file=log_file)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


@atexit.register
def _end_all() -> None:
    for process in list(_alive):
        process.kill()
