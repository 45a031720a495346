"""Held deeds: seen, approved, rejected.

``{"ids": [...]}`` decides about some at once, ``{"all": true}`` about everything that is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, body_of, chosen, operator, operator_name, reply

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    async def decide(req: func.HttpRequest, *, approved: bool) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            ids = chosen(body_of(req))
            staging = (await worker.services()).staging
            by = operator_name(req, settings)
            if ids is None:
                return reply({"count": await staging.decide_all(approved=approved, by=by)}, 202)
            return reply({"count": await staging.decide(ids, approved=approved, by=by)})

        return await operator(req, settings, answer)

    @part.function_name("staged")
    @part.route("staged", methods=["GET"], auth_level=level)
    async def staged(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            top, token = req.params.get("$top", ""), req.params.get("$skiptoken", "")
            return reply(await (await worker.services()).staging.page(top=top, token=token))

        return await operator(req, settings, answer)

    @part.function_name("staged_approve")
    @part.route("staged/approve", methods=["POST"], auth_level=level)
    async def approve(req: func.HttpRequest) -> func.HttpResponse:
        return await decide(req, approved=True)

    @part.function_name("staged_reject")
    @part.route("staged/reject", methods=["POST"], auth_level=level)
    async def reject(req: func.HttpRequest) -> func.HttpResponse:
        return await decide(req, approved=False)

    return part
