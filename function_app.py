"""What the Functions host reads: the app, put together from its blueprints.

Settings are checked before anything else. With a fault in them the app serves one function only, ``GET /api/health``, which
answers 503 and names every fault at once; nothing is contacted.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import azure.functions as func

from functions import (
    cycles,
    discover,
    escrows,
    faulty,
    health,
    job,
    links,
    logs,
    on_demand,
    plan,
    poison,
    portal,
    queues,
    schema,
    staged,
    webhooks,
)
from functions.worker import Worker
from shared.errors import ProvisioningError
from shared.provisioning.services import Services, load_mappings
from shared.settings import SettingsFaults, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.settings import Settings

log = logging.getLogger("provisioning.app")


def build(open_services: Callable[[Settings], Services] = Services) -> func.FunctionApp:
    """The app for the environment that it finds itself in. ``open_services`` puts a worker's engine together."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
    try:
        settings = load_settings(os.environ)
        load_mappings(settings)
    except SettingsFaults as error:
        faults = error.faults
    except (ProvisioningError, OSError, ValueError) as error:
        faults = (f"PROVISIONING_SCHEMA cannot be used: {error}",)
    else:
        worker = Worker(settings, open_services)
        control = (escrows, staged, poison, plan, discover, portal)
        for part in (webhooks, queues, cycles, job, logs, health, on_demand, schema, links, *control):
            app.register_functions(part.blueprint(worker))
        return app
    for fault in faults:
        log.error("settings: %s", fault)
    app.register_functions(faulty.blueprint(faults))
    return app


app = build()
