"""The synchronization schema, as in Microsoft Graph's synchronization API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from functions.answers import auth_level, body_of, operator, reply
from shared.provisioning.schemas import list_filter_operators, list_functions

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:  # noqa: C901 - six small routes side by side
    part = func.Blueprint()
    settings = worker.settings
    level = auth_level(settings)

    @part.function_name("schema")
    @part.route("schema", methods=["GET"], auth_level=level)
    async def schema(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            services = await worker.services()
            return reply(await services.schemas.document(req.params.get("version", "")))

        return await operator(req, settings, answer)

    @part.function_name("schema_put")
    @part.route("schema", methods=["PUT"], auth_level=level)
    async def put(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            document = body_of(req)
            services = await worker.services()
            return reply(await services.schemas.put(document))

        return await operator(req, settings, answer)

    @part.function_name("schema_versions")
    @part.route("schema/versions", methods=["GET"], auth_level=level)
    async def versions(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply({"value": await (await worker.services()).schemas.versions()})

        return await operator(req, settings, answer)

    @part.function_name("schema_parse_expression")
    @part.route("schema/parseExpression", methods=["POST"], auth_level=level)
    async def parse_expression(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            body = body_of(req)
            services = await worker.services()
            return reply(await services.schemas.parse_expression(body))

        return await operator(req, settings, answer)

    @part.function_name("schema_functions")
    @part.route("schema/functions", methods=["GET"], auth_level=level)
    async def functions(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(list_functions())

        return await operator(req, settings, answer)

    @part.function_name("schema_filter_operators")
    @part.route("schema/filterOperators", methods=["GET"], auth_level=level)
    async def filter_operators(req: func.HttpRequest) -> func.HttpResponse:
        async def answer() -> func.HttpResponse:
            return reply(list_filter_operators())

        return await operator(req, settings, answer)

    return part
