"""One worker process: its settings, and its services once the first function asks for them.

Services are made inside the event loop that serves the functions, and made once: clients and caches live as long as the worker.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.provisioning.services import Services

if TYPE_CHECKING:
    from shared.schema.mapping import Mappings
    from shared.settings import Settings


class Worker:
    """What the blueprints share."""

    def __init__(self, settings: Settings, mappings: Mappings) -> None:
        self.settings = settings
        self._mappings = mappings
        self._services: Services | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def services(self) -> Services:
        """The services of this worker. Clients cannot cross event loops: another loop (a test's) gets its own."""
        loop = asyncio.get_running_loop()
        if self._services is None or self._loop is not loop:
            self._services = Services(self.settings, mappings=self._mappings)
            self._loop = loop
        return self._services
