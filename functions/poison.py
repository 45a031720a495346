"""Dead messages: a trigger on each poison queue moves them to a table; seen, replayed, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, body_of, chosen, operator, operator_name, reply
from shared.events import CYCLE_EVENTS, GROUP_EVENTS, USER_EVENTS

if TYPE_CHECKING:
    from functions.worker import Worker

_CONNECTION = "AzureWebJobsStorage"


def blueprint(worker: Worker) -> func.Blueprint:  # noqa: C901 - six small functions side by side
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    async def bury(queue: str, message: func.QueueMessage) -> None:
        services = await worker.services()
        await services.dead_messages.bury(queue, message.get_body().decode("utf-8", "replace"))

    @part.function_name("users_poison")
    @part.queue_trigger("message", f"{USER_EVENTS}-poison", _CONNECTION)
    async def users_poison(message: func.QueueMessage) -> None:
        await bury(USER_EVENTS, message)

    @part.function_name("groups_poison")
    @part.queue_trigger("message", f"{GROUP_EVENTS}-poison", _CONNECTION)
    async def groups_poison(message: func.QueueMessage) -> None:
        await bury(GROUP_EVENTS, message)

    @part.function_name("cycle_events_poison")
    @part.queue_trigger("message", f"{CYCLE_EVENTS}-poison", _CONNECTION)
    async def cycle_events_poison(message: func.QueueMessage) -> None:
        await bury(CYCLE_EVENTS, message)

    @part.function_name("poison")
    @part.route("poison", methods=["GET"], auth_level=level)
    async def poison(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            top, token = req.params.get("$top", ""), req.params.get("$skiptoken", "")
            return reply(await (await worker.services()).dead_messages.page(top=top, token=token))

        return await operator(req, settings, answer)

    @part.function_name("poison_replay")
    @part.route("poison/replay", methods=["POST"], auth_level=level)
    async def poison_replay(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            ids = chosen(body_of(req))
            return reply({"count": await (await worker.services()).dead_messages.replay(ids)})

        return await operator(req, settings, answer)

    @part.function_name("poison_drop")
    @part.route("poison/drop", methods=["POST"], auth_level=level)
    async def poison_drop(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            ids = chosen(body_of(req))
            by = operator_name(req, settings)
            return reply({"count": await (await worker.services()).dead_messages.drop(ids, by)})

        return await operator(req, settings, answer)

    return part
