"""An app with one function for each thing that the host must do; what happened is appended to the file RECORD_FILE names."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
log = logging.getLogger("everything")


def record(**facts: object) -> None:
    """Append one line, so that it stays when the process is killed."""
    facts |= {"pid": os.getpid(), "at": time.time()}
    with Path(os.environ["RECORD_FILE"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


def _status(timer: func.TimerRequest) -> dict[str, str]:
    status: dict[str, str] = timer.schedule_status  # type: ignore[attr-defined]  # missing in the typed base class
    return status


@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
async def anonymous(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the parts of the request."""
    document = {
        "method": req.method,
        "url": req.url,
        "query": dict(req.params),
        "header": req.headers.get("X-Sample"),
        "bytes": len(req.get_body()),
        "cwd": str(Path.cwd()),
        "setting": os.environ.get("SAMPLE_SETTING"),
    }
    response = func.HttpResponse(json.dumps(document), mimetype="application/json", status_code=201)
    response.headers["X-Answer"] = "yes"
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2; HttpOnly")
    return response


@app.route(route="guarded/{kind:alpha}/{number:int?}", methods=["GET", "POST"])
async def guarded(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the route's parameters."""
    return func.HttpResponse(json.dumps(dict(req.route_params)))


@app.route(route="guarded/special", methods=["GET"])
async def special(req: func.HttpRequest) -> func.HttpResponse:
    """Take a literal route before a parameter."""
    return func.HttpResponse(f"special {req.method}")


@app.route(route="masters", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
async def masters_only(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the master key alone."""
    return func.HttpResponse(req.method)


@app.route(route="fails", auth_level=func.AuthLevel.ANONYMOUS)
async def fails(req: func.HttpRequest) -> func.HttpResponse:
    """Raise."""
    raise RuntimeError("secret detail of " + req.method)


@app.route(route="threaded", auth_level=func.AuthLevel.ANONYMOUS)
def threaded(req: func.HttpRequest) -> str:
    """Run in the thread pool, and log there."""
    log.warning("in a thread")
    return f"thread {req.method}"


@app.route(route="send", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output(arg_name="out", queue_name="%WORK_QUEUE%", connection="AzureWebJobsStorage")
async def send(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    """Send the body to the work queue through an output binding."""
    out.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)


@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    """Take as many seconds as the query says."""
    record(function="slow", state="started")
    await asyncio.sleep(float(req.params["seconds"]))
    record(function="slow", state="ended")
    return func.HttpResponse("slow")


@app.queue_trigger(arg_name="msg", queue_name="%WORK_QUEUE%", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="$return", queue_name="%DONE_QUEUE%", connection="AzureWebJobsStorage")
async def work(msg: func.QueueMessage) -> str:
    """Do what the message says: {"do": "ok" | "fail" | "sleep" | "exit"}."""
    text = msg.get_body().decode()
    record(
        function="work",
        state="started",
        body=text,
        id=msg.id,
        dequeue_count=msg.dequeue_count,
        inserted=str(msg.insertion_time),
        expires=str(msg.expiration_time),
        visible=str(msg.time_next_visible),
        receipt=msg.pop_receipt,
    )
    order = json.loads(text)
    if order["do"] == "fail":
        raise ValueError("as told")
    if order["do"] == "sleep":
        await asyncio.sleep(order["seconds"])
    if order["do"] == "exit" and msg.dequeue_count == 1:
        os._exit(3)
    record(function="work", state="ended", body=text, id=msg.id)
    log.info("worked")
    return text


@app.queue_trigger(arg_name="msg", queue_name="%LATER_QUEUE%", connection="AzureWebJobsStorage")
def from_poison(msg: func.QueueMessage) -> None:
    """Fail always, on a queue that has no poison queue; a synchronous function."""
    record(function="from_poison", body=msg.get_body().decode(), dequeue_count=msg.dequeue_count)
    raise ValueError("poison of poison")


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
async def tick(timer: func.TimerRequest) -> None:
    """Record each occurrence; take a while if told."""
    record(function="tick", state="started", past_due=timer.past_due, status=_status(timer))
    await asyncio.sleep(float(os.environ.get("TICK_SECONDS", "0")))
    record(function="tick", state="ended")


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
async def at_start(timer: func.TimerRequest, context: func.Context) -> None:
    """Fail until it is retried for the second time."""
    retries = context.retry_context.retry_count
    record(function="at_start", past_due=timer.past_due, retries=retries)
    if retries < 2:
        raise ValueError("not yet")


@app.timer_trigger(arg_name="timer", schedule="%NOT_SET%")
async def unresolved(timer: func.TimerRequest) -> None:
    """Never run: its setting is missing."""
    record(function="unresolved", past_due=timer.past_due)
