"""The plan (what a full cycle would do) and the verification (what has drifted)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, operator, reply
from shared.provisioning.planning import as_text
from shared.provisioning.walking import shown

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    @part.function_name("plan")
    @part.route("plan", methods=["GET"], auth_level=level)
    async def plan(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            top, token = req.params.get("$top", ""), req.params.get("$skiptoken", "")
            document = await (await worker.services()).plan.show(top=top, token=token)
            if "text/plain" not in req.headers.get("Accept", ""):
                return reply(document)
            headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
            return func.HttpResponse(as_text(document), mimetype="text/plain", charset="utf-8", headers=headers)

        return await operator(req, settings, answer)

    @part.function_name("plan_begin")
    @part.route("plan", methods=["POST"], auth_level=level)
    async def plan_begin(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(shown(await (await worker.services()).plan.begin()), 202)

        return await operator(req, settings, answer)

    @part.function_name("verification")
    @part.route("verification", methods=["GET"], auth_level=level)
    async def verification(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(await (await worker.services()).verification.status())

        return await operator(req, settings, answer)

    return part
