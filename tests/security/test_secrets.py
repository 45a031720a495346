"""After a run, nothing that the app keeps or tells holds a credential, or a value that the mapping hides."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.instance import InstanceConfig
from sandbox.instance.config import DEFAULT_ACCOUNTS
from shared.state.tables import TABLES
from tests.support.people import hire, record_of
from tests.support.schemas import variant
from tests.support.world import STATE, world

if TYPE_CHECKING:
    import pytest

    from tests.support.world import World


PASSWORD = "a-password-of-the-tests-42"
HIDDEN = "+33 1 23 45 67 89"
#: Values that mean something to OData, to encoded queries, to scripts, to spreadsheets or to a terminal.
HOSTILE = (
    "O'Brien' or PartitionKey ne '",
    "x^NQsys_idISNOTEMPTY",
    "javascript:gs.getUserID()",
    "a,b;c|d",
    '=HYPERLINK("http://x")',
    "<script>alert(1)</script>",
    "\u202eevil",
    "é\u0301🙂",
)  # fmt: skip


async def everything_kept(here: World) -> str:
    """Every row of every table, as text."""
    rows = [dict(row) for table in TABLES for row in await here.services.tables.query(table)]
    return json.dumps(rows, default=str, ensure_ascii=False)


async def test_no_credential_and_no_hidden_value_is_kept_or_told(storage: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mappings = variant(columns={"phone": {"Redact": "true", "Drift": "repair"}})
    accounts = tuple(
        replace(account, password=PASSWORD) if account.user_name == "entra.provisioning" else account
        for account in DEFAULT_ACCOUNTS
    )
    async with world(
        storage,
        mappings=mappings,
        instance=InstanceConfig(accounts=accounts),
        SERVICENOW_PASSWORD=PASSWORD,
        NOTIFICATION_CLIENT_STATE=STATE,
    ) as here:
        ann = hire(here, "ann", businessPhones=[HIDDEN])
        await here.cycle()
        here.instance.instance.set_directly("sys_user", record_of(here, "ann")["sys_id"], {"phone": "+33 9 99"})
        await here.services.verification.begin()
        await here.pump()
        assert record_of(here, "ann")["phone"] == HIDDEN
        # A refused write, a refused sign-in and a lost answer: their errors are told too.
        here.instance.instance.configure(refuse_credentials=True)
        here.tenant.tenant.update(ann, {"businessPhones": ["+33 1 00 00 00 00"]})
        await here.cycle()
        here.instance.instance.configure(refuse_credentials=False)
        await here.services.operations.restart("Full")
        await here.pump()
        assert record_of(here, "ann")["phone"] == "+33 1 00 00 00 00"

        basic = base64.b64encode(f"entra.provisioning:{PASSWORD}".encode()).decode()
        kept, told = await everything_kept(here), caplog.text
        answers = json.dumps([await here.services.operations.job(), await here.log_of(ann)])
        for text in (kept, told, answers):
            for secret in (HIDDEN, "+33 1 00", "+33 9 99", STATE, PASSWORD, basic, "Bearer sandbox"):
                assert secret not in text


async def test_hostile_values_travel_as_values(storage: str) -> None:
    async with world(storage) as here:
        people = {}
        for number, value in enumerate(HOSTILE):
            people[f"h{number}"] = hire(here, f"h{number}", jobTitle=value, city=value, department=value, employeeId=value[:16])
        here.tenant.tenant.create_group("Team ^NQ' or 1", members=list(people.values()))
        await here.cycle()
        await here.cycle()
        for number, value in enumerate(HOSTILE):
            assert record_of(here, f"h{number}")["title"] == value
        assert sum(row["user_name"].startswith("h") for row in here.rows("sys_user").values()) == len(HOSTILE)
        (group,) = here.rows("sys_user_group").values()
        assert group["name"] == "Team ^NQ' or 1"
        assert len(here.rows("sys_user_grmember")) == len(HOSTILE)
        # What waits for a department of such a name can be listed, and asked for again.
        await here.services.waiting.tick()
        assert (await here.services.escrows.counts()).get("record", 0) >= 1
