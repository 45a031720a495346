"""Discovery: the accounts of ServiceNow and whom they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, operator, reply
from shared.provisioning.walking import shown

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    @part.function_name("discover")
    @part.route("discover", methods=["GET"], auth_level=level)
    async def discover(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            services = await worker.services()
            return reply(
                await services.discovery.show(
                    status=req.params.get("status", ""),
                    top=req.params.get("$top", ""),
                    token=req.params.get("$skiptoken", ""),
                )
            )

        return await operator(req, settings, answer)

    @part.function_name("discover_begin")
    @part.route("discover", methods=["POST"], auth_level=level)
    async def discover_begin(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(shown(await (await worker.services()).discovery.begin()), 202)

        return await operator(req, settings, answer)

    return part
