"""Links between Entra objects and ServiceNow records, in the shape of Microsoft Graph's object connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, body_of, operator, reply

if TYPE_CHECKING:
    from functions.worker import Worker

_ROUTE = "links/{objectId}"


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    @part.function_name("links")
    @part.route(_ROUTE, methods=["GET"], auth_level=level)
    async def see(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(await (await worker.services()).links.see(req.route_params["objectId"]))

        return await operator(req, settings, answer)

    @part.function_name("links_put")
    @part.route(_ROUTE, methods=["PUT"], auth_level=level)
    async def adopt(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            body = body_of(req)
            services = await worker.services()
            return reply(await services.links.adopt(req.route_params["objectId"], body))

        return await operator(req, settings, answer)

    @part.function_name("links_delete")
    @part.route(_ROUTE, methods=["DELETE"], auth_level=level)
    async def remove(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            await (await worker.services()).links.remove(req.route_params["objectId"])
            return func.HttpResponse(status_code=204)

        return await operator(req, settings, answer)

    return part
