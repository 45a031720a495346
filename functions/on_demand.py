"""Provision on demand, as in Microsoft Graph's synchronization API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, body_of, operator, reply
from shared.provisioning.on_demand import parse_demand

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings

    @part.function_name("job_provision_on_demand")
    @part.route("job/provisionOnDemand", methods=["POST"], auth_level=auth_level(settings))
    async def provision_on_demand(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            demand = parse_demand(body_of(req))
            services = await worker.services()
            return reply(await services.on_demand.provision(demand))

        return await operator(req, settings, answer)

    return part
