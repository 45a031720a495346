"""The one place that touches azure-functions-runtime, the library in which Azure itself runs Python 3.13 functions.

Indexing goes through its classic entry, whose protobuf module is injected: plain objects do. Invocations go through its native
entry, new in 1.3, which has no protobuf at all (source: azure-functions-runtime 1.3.0, ``handle_event`` and
``native_invocation``). The library keeps one registry per process, so a process can load one app.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from azure_functions_runtime import (
    get_threadpool_executor,
    invocation_id_cv,
    start_threadpool_executor,
    worker_init_request,
)
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextvars import ContextVar
    from datetime import timedelta
    from pathlib import Path

__all__ = ["Datum", "IndexedFunction", "IndexingError", "Outcome", "RetryPolicy", "current_invocation_id", "index_app", "invoke"]

current_invocation_id: ContextVar[str | None] = invocation_id_cv


class IndexingError(Exception):
    """The app could not be loaded. ``trace`` is the traceback, from the app's own code on where there is one."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``@app.retry``; -1 as ``max_retries`` is without end. Intervals in seconds; ``minimum`` equals ``maximum`` when fixed."""

    max_retries: int
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class IndexedFunction:
    """A function as its decorators declare it; ``bindings`` are the raw JSON objects, ``%SETTING%`` not yet replaced."""

    name: str
    function_id: str
    bindings: tuple[dict[str, Any], ...]
    retry: RetryPolicy | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation gave back: ``error`` is None when it succeeded; ``outputs`` are (binding name, value) pairs."""

    error: str | None = None
    returned: Datum | None = None
    outputs: Sequence[tuple[str, Datum]] = ()


class _Message:
    """Stands in for any protobuf message: whatever keywords it is made with become its attributes."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class _BindingInfo(_Message):
    """Directions are plain numbers in the worker's protocol (FunctionRpc.proto, ``BindingInfo.Direction``)."""

    out = 1
    inout = 2
    undefined = 0


setattr(_BindingInfo, "in", 0)


class _StatusResult(_Message):
    Failure = 0
    Success = 1


_PROTOS = SimpleNamespace(
    BindingInfo=_BindingInfo,
    StatusResult=_StatusResult,
    RpcException=_Message,
    RpcFunctionMetadata=_Message,
    RpcRetryOptions=_Message,
    WorkerInitResponse=_Message,
    WorkerMetadata=_Message,
)


async def index_app(app_dir: Path) -> list[IndexedFunction]:
    """Load ``function_app.py`` of the app directory, which becomes the working directory and the first place of imports.

    IndexingError if it is missing, cannot be imported, or declares functions that the Functions host would refuse.
    """
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    if not (app_dir / script).is_file():
        raise IndexingError(f"{app_dir} holds no {script}")
    if script.removesuffix(".py") in sys.modules:
        raise IndexingError("this process has loaded an app already: start another process for another app")
    os.chdir(app_dir)
    sys.path.insert(0, str(app_dir))
    importlib.invalidate_caches()
    start_threadpool_executor()
    init = SimpleNamespace(capabilities={}, function_app_directory=str(app_dir))
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=init), properties={"protos": _PROTOS, "host": "127.0.0.1"}
    )
    response = await worker_init_request(request)
    if response.result.status != _StatusResult.Success:
        failure = response.result.exception
        raise IndexingError(failure.message, failure.stack_trace)
    if "HttpUri" in response.capabilities:
        raise IndexingError("HTTP streaming (azurefunctions-extensions-http-fastapi) is not supported by this host")
    return [_indexed(metadata) for metadata in _metadata()]


async def invoke(
    function: IndexedFunction,
    invocation_id: str,
    inputs: Sequence[tuple[str, Datum]],
    trigger_metadata: Mapping[str, Datum],
    *,
    retry_count: int = 0,
) -> Outcome:
    """Run a function. An exception of the app is an ``error`` in the outcome, already logged by the library with its trace."""
    succeeded, returned, outputs, error, _ = await invocation_request_native(
        invocation_id,
        function.function_id,
        list(inputs),
        dict(trigger_metadata),
        retry_count=retry_count,
        max_retry_count=function.retry.max_retries if function.retry else 0,
    )
    return Outcome(None, returned, outputs) if succeeded else Outcome(error or "unknown error")


def stop_threads() -> None:
    """Let the thread pool of synchronous functions go without waiting for a function that does not end."""
    executor = get_threadpool_executor()
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)


def _metadata() -> Sequence[Any]:
    # functions_metadata_request would hand out the same list in another envelope.
    from azure_functions_runtime import handle_event

    return handle_event._metadata_result or ()  # noqa: SLF001 - the public entry logs the whole list at each call


def _indexed(metadata: Any) -> IndexedFunction:
    bindings = tuple(json.loads(raw) for raw in metadata.raw_bindings)
    return IndexedFunction(metadata.name, metadata.function_id, bindings, _retry_policy(metadata.retry_options))


def _retry_policy(options: Any) -> RetryPolicy | None:
    if options is None:
        return None
    fixed: timedelta | None = getattr(options, "delay_interval", None)
    minimum: timedelta = fixed if fixed is not None else options.minimum_interval
    maximum: timedelta = fixed if fixed is not None else options.maximum_interval
    return RetryPolicy(options.max_retry_count, minimum.total_seconds(), maximum.total_seconds())
