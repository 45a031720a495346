"""One worker process: its settings, and its services once the first function asks for them.

Services are made inside the event loop that serves the functions, and made once: clients and caches live as long as the worker.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.provisioning.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.settings import Settings


class Worker:
    """What the blueprints share."""

    def __init__(self, settings: Settings, open_services: Callable[[Settings], Services] = Services) -> None:
        self.settings = settings
        self._open_services = open_services
        self._services: Services | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def services(self) -> Services:
        """The services of this worker. Clients cannot cross event loops: another loop (a test's) gets its own."""
        loop = asyncio.get_running_loop()
        if self._services is None or self._loop is not loop:
            self._services = self._open_services(self.settings)
            self._loop = loop
        return self._services
