"""The app as it is deployed, with one thing exchanged: its clock runs fast, so that nobody waits minutes for a lease to end."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from sandbox.chaos.fast import open_fast_services
from sandbox.processes import REPOSITORY

if TYPE_CHECKING:
    import azure.functions as func


def _build() -> func.FunctionApp:
    # This file has the name that the host looks for, so the app's own file of that name goes by another one here.
    spec = importlib.util.spec_from_file_location("deployed_function_app", REPOSITORY / "function_app.py")
    if spec is None or spec.loader is None:
        raise ImportError("there is no function_app.py in the repository")
    deployed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(deployed)
    built: func.FunctionApp = deployed.build(open_fast_services)
    return built


app = _build()
