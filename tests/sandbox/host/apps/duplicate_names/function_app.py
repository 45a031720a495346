"""An app with two functions of one name."""

from __future__ import annotations

import azure.functions as func

app = func.FunctionApp()


@app.function_name(name="same")
@app.route(route="one")
async def one(req: func.HttpRequest) -> func.HttpResponse:
    """Answer."""
    return func.HttpResponse(req.method)


@app.function_name(name="same")
@app.route(route="two")
async def two(req: func.HttpRequest) -> func.HttpResponse:
    """Answer too."""
    return func.HttpResponse(req.method)
