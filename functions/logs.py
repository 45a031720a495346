"""The provisioning log, as Graph's ``/auditLogs/provisioning``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, operator, reply

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings

    @part.function_name("logs")
    @part.route("logs", methods=["GET"], auth_level=auth_level(settings))
    async def logs(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            services = await worker.services()
            return reply(
                await services.operations.logs(
                    condition=req.params.get("$filter", ""),
                    top=req.params.get("$top", ""),
                    token=req.params.get("$skiptoken", ""),
                )
            )

        return await operator(req, settings, answer)

    return part
