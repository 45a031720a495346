"""Whether the app is well: for load balancers, alerts and people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import reply

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()

    @part.function_name("health")
    @part.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    async def health(req: func.HttpRequest) -> func.HttpResponse:
        del req
        services = await worker.services()
        faults = await services.operations.health()
        return reply({"status": "unhealthy" if faults else "healthy", "faults": faults}, 503 if faults else 200)

    return part
