"""Graph's webhooks: the validation handshake, change notifications and lifecycle events.

Anonymous, because Graph sends no credential of ours: ``clientState`` is the check, made for every item in the engine.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import azure.functions as func

from shared.errors import ProvisioningError
from shared.graph.notifications import MalformedNotification, validation_reply

if TYPE_CHECKING:
    from functions.worker import Worker

log = logging.getLogger("provisioning.webhooks")


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()

    @part.function_name("notifications")
    @part.route("notifications", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    async def notifications(req: func.HttpRequest) -> func.HttpResponse:
        return await _receive(req, worker)

    @part.function_name("lifecycle")
    @part.route("lifecycle", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
    async def lifecycle(req: func.HttpRequest) -> func.HttpResponse:
        return await _receive(req, worker)

    return part


async def _receive(request: func.HttpRequest, worker: Worker) -> func.HttpResponse:
    """202 once everything is durably queued; 5xx when it is not, so that Graph delivers again."""
    token = request.params.get("validationToken")
    if token is not None:
        try:
            handshake = validation_reply(token)
        except MalformedNotification:
            return func.HttpResponse(status_code=400)
        return func.HttpResponse(
            handshake.body, status_code=handshake.status, headers=dict(handshake.headers), mimetype="text/plain", charset="utf-8"
        )
    services = await worker.services()
    try:
        accepted = await services.intake.receive(request.get_body())
    except ProvisioningError as error:
        log.warning("notifications could not be queued, Graph will deliver them again: %s", error.reason)
        return func.HttpResponse(status_code=503)
    return func.HttpResponse(status_code=400 if accepted.malformed else 202)
