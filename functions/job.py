"""The job, in the shape and with the verbs of Microsoft Graph's synchronization API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, body_of, operator, reply
from shared.provisioning.operations import BadRequest

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:  # noqa: C901 - five small routes side by side
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)
    no_content = func.HttpResponse(status_code=204)

    @part.function_name("job")
    @part.route("job", methods=["GET"], auth_level=level)
    async def job(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(await (await worker.services()).operations.job())

        return await operator(req, settings, answer)

    @part.function_name("job_start")
    @part.route("job/start", methods=["POST"], auth_level=level)
    async def start(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            await (await worker.services()).operations.start()
            return no_content

        return await operator(req, settings, answer)

    @part.function_name("job_pause")
    @part.route("job/pause", methods=["POST"], auth_level=level)
    async def pause(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            await (await worker.services()).operations.pause()
            return no_content

        return await operator(req, settings, answer)

    @part.function_name("job_restart")
    @part.route("job/restart", methods=["POST"], auth_level=level)
    async def restart(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            criteria = body_of(req).get("criteria") or {}
            if not isinstance(criteria, dict):
                raise BadRequest("criteria must be an object with resetScope")
            await (await worker.services()).operations.restart(str(criteria.get("resetScope") or ""))
            return no_content

        return await operator(req, settings, answer)

    @part.function_name("job_validate_credentials")
    @part.route("job/validateCredentials", methods=["POST"], auth_level=level)
    async def validate_credentials(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            await (await worker.services()).operations.validate_credentials()
            return no_content

        return await operator(req, settings, answer)

    return part
