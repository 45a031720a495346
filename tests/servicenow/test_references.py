from __future__ import annotations

import json
from urllib.parse import parse_qsl

import httpx

from shared.servicenow.references import Ambiguous, Missing, Resolved, resolve_names
from tests.servicenow.scripted import Script, client_of, rows


def departments(*names: str) -> Script:
    """Answers each query with all rows that its own words can mean, by a crude reading of = IN and LIKE."""

    def answer(request: httpx.Request) -> httpx.Response:
        query = dict(parse_qsl(request.url.query.decode()))["sysparm_query"].removesuffix("^ORDERBYsys_id")
        found = []
        for number, name in enumerate(names):
            for part in query.split("^OR"):
                column, operator, value = next((part.partition(op) for op in ("LIKE", "=", "IN") if op in part), ("", "", ""))
                assert column == "name"
                low, asked = name.lower(), value.lower()
                if (operator == "LIKE" and asked in low) or low == asked or (operator == "IN" and low in asked.split(",")):
                    found.append({"sys_id": f"d{number}", "name": name})
                    break
        return rows(*found)

    return Script(answer)


async def test_each_name_is_the_one_row_or_missing_or_ambiguous() -> None:
    script = departments("Sales", "Marketing", "Legal", "Legal", "FINANCE")
    async with client_of(script) as client:
        found = await resolve_names(client, "cmn_department", "name", ["Sales", "Legal", "Finance", "Nowhere", "Sales"])
    assert found == {
        "Sales": Resolved("d0", "Sales"),
        "Legal": Ambiguous("Legal", ("d2", "d3")),
        "Finance": Resolved("d4", "FINANCE", exact=False),
        "Nowhere": Missing("Nowhere"),
    }
    assert script.count == 1


async def test_the_very_same_name_wins_over_those_equal_by_collation_only() -> None:
    async with client_of(departments("SALES", "Sales", "sales")) as client:
        found = await resolve_names(client, "cmn_department", "name", ["Sales", "SaLeS"])
    assert found["Sales"] == Resolved("d1", "Sales")
    assert found["SaLeS"] == Ambiguous("SaLeS", ("d0", "d1", "d2"))


async def test_names_that_no_query_can_hold_are_found_by_a_wider_one() -> None:
    script = departments("Research, Development", "R^Development", " Padded", "Development")
    async with client_of(script) as client:
        found = await resolve_names(
            client, "cmn_department", "name", ["Research, Development", "R^Development", " Padded", "^", ""]
        )
    assert found == {
        "Research, Development": Resolved("d0", "Research, Development"),
        "R^Development": Resolved("d1", "R^Development"),
        " Padded": Resolved("d2", " Padded"),
        "^": Missing("^", askable=False),
        "": Missing("", askable=False),
    }


async def test_five_hundred_names_cost_one_request() -> None:
    def empty(request: httpx.Request) -> httpx.Response:
        items = json.loads(request.content)["rest_requests"]
        headers = [{"name": "X-Total-Count", "value": "0"}]
        serviced = [{"id": i["id"], "status_code": 200, "body": "eyJyZXN1bHQiOiBbXX0=", "headers": headers} for i in items]
        return httpx.Response(200, json={"batch_request_id": "1", "serviced_requests": serviced, "unserviced_requests": []})

    script = Script(empty)
    async with client_of(script) as client:
        found = await resolve_names(client, "cmn_location", "name", [f"Site {n}" for n in range(500)])
    assert set(found.values()) == {Missing(f"Site {n}") for n in range(500)}
    assert script.count == 1


async def test_no_names_cost_nothing() -> None:
    script = departments()
    async with client_of(script) as client:
        assert await resolve_names(client, "cmn_location", "name", []) == {}
    assert script.count == 0
