"""The queue triggers: a message in, the dispatcher decides what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from shared.events import CYCLE_EVENTS, GROUP_EVENTS, USER_EVENTS

if TYPE_CHECKING:
    from functions.worker import Worker

_CONNECTION = "AzureWebJobsStorage"


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()

    async def handle(queue: str, message: func.QueueMessage) -> None:
        services = await worker.services()
        await services.dispatcher.handle(queue, message.get_body().decode("utf-8", "replace"))

    @part.function_name("users")
    @part.queue_trigger("message", USER_EVENTS, _CONNECTION)
    async def users(message: func.QueueMessage) -> None:
        await handle(USER_EVENTS, message)

    @part.function_name("groups")
    @part.queue_trigger("message", GROUP_EVENTS, _CONNECTION)
    async def groups(message: func.QueueMessage) -> None:
        await handle(GROUP_EVENTS, message)

    @part.function_name("cycle_events")
    @part.queue_trigger("message", CYCLE_EVENTS, _CONNECTION)
    async def cycle_events(message: func.QueueMessage) -> None:
        await handle(CYCLE_EVENTS, message)

    return part
