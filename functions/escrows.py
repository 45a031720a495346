"""What waits: seen, and released by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, operator, reply
from shared.provisioning import escrowed

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    @part.function_name("escrows")
    @part.route("escrows", methods=["GET"], auth_level=level)
    async def escrows(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            top, token = req.params.get("$top", ""), req.params.get("$skiptoken", "")
            return reply(await escrowed.page(await worker.services(), top=top, token=token))

        return await operator(req, settings, answer)

    @part.function_name("escrow_retry")
    @part.route("escrows/{id}/retry", methods=["POST"], auth_level=level)
    async def escrow_retry(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(await escrowed.retry(await worker.services(), req.route_params.get("id", "")), 202)

        return await operator(req, settings, answer)

    return part
