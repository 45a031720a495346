"""The app while its settings have faults: one function that names them all."""

from __future__ import annotations

import azure.functions as func

from functions.answers import reply


def blueprint(faults: tuple[str, ...]) -> func.Blueprint:
    part = func.Blueprint()

    @part.function_name("health")
    @part.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    async def health(req: func.HttpRequest) -> func.HttpResponse:
        del req
        return reply({"status": "misconfigured", "faults": list(faults)}, 503)

    return part
