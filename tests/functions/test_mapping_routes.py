"""Schema, on demand, links and discovery through the host: shapes, statuses, headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hosted import until

if TYPE_CHECKING:
    from tests.support.hosted import Hosted

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

NOBODY = "00000000-0000-0000-0000-00000000beef"
ROUTES = (
    ("GET", "schema"),
    ("PUT", "schema"),
    ("GET", "schema/versions"),
    ("GET", "schema/functions"),
    ("GET", "schema/filterOperators"),
    ("POST", "schema/parseExpression"),
    ("POST", "job/provisionOnDemand"),
    ("GET", f"links/{NOBODY}"),
    ("PUT", f"links/{NOBODY}"),
    ("DELETE", f"links/{NOBODY}"),
    ("GET", "discover"),
    ("POST", "discover"),
)


async def ask(here: Hosted, method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
    async with here.session.request(method, f"{here.host.url}/api/{path}", headers=here.host.headers, json=body) as response:
        text = await response.text()
        return response.status, json.loads(text) if text else None, dict(response.headers)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_route_of_the_mapping_asks_for_a_key(here: Hosted, method: str, path: str) -> None:
    async with here.session.request(method, f"{here.host.url}/api/{path}") as response:
        assert response.status == 401


async def test_the_schema_comes_back_as_it_is_and_a_faulty_one_is_refused_with_paths(here: Hosted) -> None:
    status, schema, _ = await ask(here, "GET", "schema")
    assert status == 200
    broken = json.loads(json.dumps(schema))
    broken["synchronizationRules"][0]["objectMappings"][0]["attributeMappings"][0]["flowType"] = "Sometimes"
    status, answer, _ = await ask(here, "PUT", "schema", broken)
    assert status == 400
    assert answer["error"]["code"] == "InvalidSchema"
    (detail,) = answer["error"]["details"]
    assert detail["target"].endswith("attributeMappings[0].flowType")
    assert (await ask(here, "GET", "schema"))[1] == schema
    status, answer, _ = await ask(here, "PUT", "schema", schema)
    assert (status, answer["version"]) == (200, schema["version"])
    assert (await ask(here, "GET", "schema?version=0123456789abcdef"))[0] == 404


async def test_expressions_functions_and_operators_answer_as_in_graph(here: Hosted) -> None:
    status, answer, _ = await ask(
        here, "POST", "schema/parseExpression", {"expression": 'Append("a", "b")', "testInputObject": {}}
    )
    assert (status, answer["evaluationResult"]) == (200, ["ab"])
    assert (await ask(here, "POST", "schema/parseExpression", {}))[0] == 400
    assert (await ask(here, "GET", "schema/functions"))[1]["value"]
    assert (await ask(here, "GET", "schema/filterOperators"))[1]["value"]


async def test_a_preview_answers_in_graphs_shape_and_creates_nobody(here: Hosted) -> None:
    upn = "route.preview@contoso.com"
    user = here.tenant.tenant.create_user(userPrincipalName=upn, displayName="Route Preview")
    body = {"parameters": [{"subjects": [{"objectId": user, "objectTypeName": "User"}], "ruleId": "x"}], "preview": True}
    status, answer, _ = await ask(here, "POST", "job/provisionOnDemand", body)
    assert status == 200
    assert json.loads(answer["key"])["result"] in {"Success", "Skipped"}
    assert json.loads(answer["value"])["preview"] is True
    assert (await ask(here, "POST", "job/provisionOnDemand", {}))[0] == 400


async def test_links_answer_404_400_and_409(here: Hosted) -> None:
    assert (await ask(here, "GET", f"links/{NOBODY}"))[0] == 404
    assert (await ask(here, "PUT", f"links/{NOBODY}", {}))[0] == 400
    status, answer, _ = await ask(here, "DELETE", f"links/{NOBODY}")
    assert (status, answer["error"]["code"]) == (409, "JobIsNotPaused")


async def test_a_discovery_begins_and_is_shown(here: Hosted) -> None:
    status, begun, _ = await ask(here, "POST", "discover")
    assert (status, begun["status"]) == (202, "running")

    async def completed() -> Any:
        answer = (await ask(here, "GET", "discover"))[1]
        return answer if answer["status"] == "completed" else None

    answer = await until(completed, seconds=120)
    assert sum(answer["counts"][status] for status in ("linked", "belongsToNobody")) > 0
    assert (await ask(here, "GET", "discover?status=lost"))[0] == 400
