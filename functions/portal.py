"""The status page. It loads nothing from anywhere and runs no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, operator
from shared.provisioning import portal

if TYPE_CHECKING:
    from functions.worker import Worker

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    settings = worker.settings

    @part.function_name("portal")
    @part.route("portal", methods=["GET"], auth_level=auth_level(settings))
    async def page(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            status = await portal.gather(await worker.services())
            headers = {**_HEADERS, "Content-Security-Policy": portal.CONTENT_SECURITY_POLICY}
            return func.HttpResponse(portal.render(status), mimetype="text/html", charset="utf-8", headers=headers)

        return await operator(req, settings, answer)

    return part
