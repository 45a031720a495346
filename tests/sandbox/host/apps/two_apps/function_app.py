"""A module with two apps at its top level."""

from __future__ import annotations

import azure.functions as func

first = func.FunctionApp()
second = func.FunctionApp()
