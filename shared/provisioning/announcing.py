"""Telling people: once for each time that the job goes into quarantine or begins to hold deeds.

Where to: ``ALERT_WEBHOOK_URL`` gets a POST of JSON ``{"title", "text", "reason", "code", "jobId", "began"}`` (``text`` is what
chat services show), ``ALERT_EMAIL_TO`` a mail that Graph sends for ``ALERT_EMAIL_FROM``. An announcement that does not arrive
is tried again by the next tick of the cycle's timer; it never holds up the engine. No name of a person is in it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from shared.errors import ProvisioningError

if TYPE_CHECKING:
    from shared.provisioning.services import Services
    from shared.state.job import Job, Quarantine

log = logging.getLogger("provisioning.announcing")

_TIMEOUT = 10.0
#: Who announces an entry has this time before somebody else does it in his place.
_TURN = timedelta(minutes=2)


class Announcing:
    """Announce what the job's row says and nobody has announced yet."""

    def __init__(self, services: Services, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._services = services
        self._transport = transport

    async def quarantine(self) -> None:
        """Announce the present quarantine, if nobody has and nobody is about to."""
        alerts = self._services.settings.alerts
        job = await self._services.jobs.get(fresh=True)
        quarantine = job.quarantine
        if quarantine is None or quarantine.announced or not (alerts.webhook_url or alerts.email_to):
            return
        at = self._services.clock()
        if quarantine.announcing_since and at - datetime.fromisoformat(quarantine.announcing_since) < _TURN:
            return
        turn = at.isoformat()
        if not await self._note(quarantine, announcing_since=turn):
            return
        if await self._announce(self._document(quarantine)):
            await self._note(quarantine, announced=True, announcing_since=turn)

    async def _note(self, about: Quarantine, **changes: Any) -> bool:
        """Write into the entry, if it is still that one and nobody else's turn; False otherwise."""
        noted = False

        def write(job: Job) -> Job | None:
            nonlocal noted
            present = job.quarantine
            noted = present is not None and (present.reason, present.series_began) == (about.reason, about.series_began)
            if present is None or not noted:
                return None
            noted = "announced" in changes or present.announcing_since == about.announcing_since
            return replace(job, quarantine=replace(present, **changes)) if noted else None

        await self._services.jobs.change(write)
        return noted

    def _document(self, quarantine: Quarantine) -> dict[str, str]:
        stops = "Nothing is written until it is healed." if quarantine.stops else "Everything else flows on."
        return {
            "title": f"Entra to ServiceNow provisioning: {quarantine.reason}",
            "text": f"{quarantine.message} ({quarantine.code}). {stops}",
            "reason": quarantine.reason,
            "code": quarantine.code,
            "jobId": self._services.job_id,
            "instance": self._services.settings.servicenow.instance_url,
            "began": quarantine.current_began,
        }

    async def _announce(self, document: dict[str, str]) -> bool:
        """Tell everybody who is to be told; False when somebody could not be reached."""
        alerts = self._services.settings.alerts
        reached = True
        if alerts.webhook_url:
            reached = await self._post(alerts.webhook_url, document)
        if alerts.email_to and alerts.email_from:
            reached = await self._mail(document) and reached
        return reached

    async def _post(self, url: str, document: dict[str, str]) -> bool:
        try:
            async with httpx.AsyncClient(transport=self._transport, timeout=_TIMEOUT, follow_redirects=False) as client:
                answer = await client.post(url, json=document)
        except httpx.HTTPError as error:
            # The URL of a webhook is its credential: it is not repeated here.
            log.warning("the webhook of ALERT_WEBHOOK_URL could not be reached (%s)", type(error).__name__)
            return False
        if not answer.is_success:
            log.warning("the webhook of ALERT_WEBHOOK_URL answered %d", answer.status_code)
        return answer.is_success

    async def _mail(self, document: dict[str, str]) -> bool:
        """Source: Microsoft Graph, "user: sendMail" (permission Mail.Send)."""
        services, alerts = self._services, self._services.settings.alerts
        recipients = [part.strip() for part in alerts.email_to.replace(";", ",").split(",") if part.strip()]
        message = {
            "subject": document["title"],
            "body": {"contentType": "Text", "content": "\n".join(f"{name}: {value}" for name, value in document.items())},
            "toRecipients": [{"emailAddress": {"address": address}} for address in recipients],
        }
        ask = services.graph.write(
            lambda graph: graph.users.by_user_id(alerts.email_from).send_mail,
            "POST",
            {"message": message, "saveToSentItems": False},
            permission="Mail.Send",
        )
        try:
            await services.graph.send(ask)
        except ProvisioningError as error:
            log.warning("the mail to ALERT_EMAIL_TO could not be sent: %s", error.reason)
            return False
        return True
