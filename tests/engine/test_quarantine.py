"""Quarantine: entered for Entra's reasons, announced once, healed by itself; and restarts of every scope."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta

import httpx
import pytest

from sandbox.instance.access import SYSTEM
from shared.errors import CredentialsError, ThrottledError
from shared.provisioning.announcing import Announcing
from shared.provisioning.requests import BadRequest
from shared.provisioning.thresholds import judge
from shared.servicenow.queries import everything
from shared.state.escrows import RETRY, Escrow
from tests.support.people import hire, record_of
from tests.support.world import World, another_worker, world

HOOK = "https://hooks.contoso.com/secret-path"


@pytest.mark.parametrize(
    ("failures", "references", "succeeded", "reason"),
    [
        (4_000, 0, 0, None),
        (45_000, 0, 10**6, "EncounteredBaseEscrowThreshold"),
        (30_000, 0, 5_000, "EncounteredEscrowProportionThreshold"),
        (20_000, 0, 100_000, None),
        (40_000, 21_000, 10**6, "EncounteredTotalEscrowThreshold"),
        (0, 59_000, 0, None),
    ],
)
def test_failures_are_judged_as_entra_does(failures: int, references: int, succeeded: int, reason: str | None) -> None:
    assert judge(failures, references, succeeded) == reason


async def test_refused_credentials_stop_at_once_are_announced_once_and_heal(storage: str) -> None:
    posts: list[dict[str, str]] = []

    async def hook(request: httpx.Request) -> httpx.Response:
        posts.append(json.loads(request.content))
        return httpx.Response(200 if len(posts) > 1 else 500)

    async with world(storage, ALERT_WEBHOOK_URL=HOOK) as here:
        here.services.announcing = Announcing(here.services, httpx.MockTransport(hook))
        hire(here, "ann")
        await here.cycle()
        here.instance.instance.configure(refuse_credentials=True)
        names = [f"p{number}" for number in range(5)]
        for name in names:
            hire(here, name)
        await here.cycle()
        job = (await here.services.operations.job())["status"]
        assert (job["code"], job["quarantine"]["reason"]) == ("Quarantine", "EncounteredQuarantineException")
        assert await here.services.operations.health()
        refused = here.requests()
        for _ in range(3):
            await here.cycle()
        assert here.requests() == refused  # nobody knocks again before the next probe
        assert len(posts) == 1  # which the other side did not take

        await here.later(180)
        await here.cycle()
        await here.cycle()
        assert len(posts) == 2
        assert posts[1]["reason"] == "EncounteredQuarantineException"
        assert "provisioning" not in posts[1]["text"]  # the account's password

        here.instance.instance.configure(refuse_credentials=False)
        await here.later(3600)
        await here.cycle()
        assert (await here.services.operations.job())["status"]["quarantine"] is None
        assert all(record_of(here, name)["active"] == "true" for name in names)
        assert len(posts) == 2
        assert await here.services.operations.health() == []


async def _ask(worker: World) -> None:
    """One question to ServiceNow, as soon as the other workers leave a slot for it."""
    while True:
        with contextlib.suppress(ThrottledError):
            await worker.services.servicenow.sample("sys_user", everything(), ("sys_id",), limit=1)
            return


async def test_what_was_refused_to_one_worker_is_forgotten_when_the_probe_of_another_succeeds(storage: str) -> None:
    async with world(storage) as here, another_worker(here, storage) as other:
        hire(here, "ann")
        await here.cycle()
        here.instance.instance.configure(refuse_credentials=True)
        hire(here, "bob")
        await here.cycle()
        with pytest.raises(CredentialsError):
            await _ask(other)
        here.instance.instance.configure(refuse_credentials=False)
        await here.later(3600)
        await here.cycle()
        hire(here, "eve")
        await other.cycle()
        assert (await other.services.operations.job())["status"]["quarantine"] is None
        assert record_of(here, "bob")["active"] == record_of(here, "eve")["active"] == "true"


async def test_a_mail_is_sent_through_graph(storage: str) -> None:
    async with world(storage, ALERT_EMAIL_FROM="ops@contoso.com", ALERT_EMAIL_TO="ann@contoso.com; ben@contoso.com") as here:
        sent: list[dict[str, object]] = []

        async def graph(request: httpx.Request) -> httpx.Response:
            sent.append({"path": request.url.path, **json.loads(request.content)})
            return httpx.Response(202)

        from shared.graph.client import GraphClient

        here.services.graph = GraphClient(here.tenant.url, access_token="t", transport=httpx.MockTransport(graph))
        await here.services.quarantine.enter("EncounteredQuarantineException", CredentialsError("refused"))
        await here.services.graph.aclose()
        (mail,) = sent
        assert str(mail["path"]).endswith("/users/ops@contoso.com/sendMail") or "sendMail" in str(mail["path"])
        assert len(mail["message"]["toRecipients"]) == 2  # type: ignore[index] # JSON


async def test_too_many_failures_quarantine_and_a_sample_that_succeeds_heals(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(storage) as here:
        monkeypatch.setattr("shared.provisioning.thresholds.LEAST", 5)
        people = [hire(here, f"p{number}") for number in range(6)]
        at = here.clock()
        later = at + timedelta(days=1)
        escrows = [
            Escrow(RETRY, f"user:{person}", f"user:{person}", "InsufficientRights", "refused", created_at=at, next_at=later)
            for person in people
        ]
        await here.services.escrows.write(escrows)
        await here.services.operations.tick()
        job = (await here.services.operations.job())["status"]
        assert job["quarantine"]["reason"] == "EncounteredEscrowProportionThreshold"
        assert here.user("p0@contoso.com") is None

        await here.later(600)
        await here.cycle()
        assert (await here.services.operations.job())["status"]["quarantine"] is None
        assert all(record_of(here, f"p{number}")["active"] == "true" for number in range(6))
        assert await here.services.escrows.counts() == {}


async def test_a_restart_of_an_unknown_scope_is_refused(storage: str) -> None:
    async with world(storage) as here:
        with pytest.raises(BadRequest):
            await here.services.operations.restart("Watermark,Everything")


async def test_none_starts_a_paused_job(storage: str) -> None:
    async with world(storage) as here:
        hire(here, "ann")
        await here.services.operations.pause()
        await here.services.operations.restart("None")
        await here.pump()
        assert record_of(here, "ann")["active"] == "true"


async def test_connector_data_store_compares_every_record_and_matches_what_is_gone(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann", jobTitle="Lead")
        hire(here, "ben")
        await here.cycle()
        here.instance.instance.set_directly("sys_user", record_of(here, "ann")["sys_id"], {"title": "Changed by hand"})
        gone = record_of(here, "ben")["sys_id"]
        here.instance.instance.delete("sys_user", gone, SYSTEM)
        await here.services.operations.restart("ConnectorDataStore")
        await here.pump()
        assert record_of(here, "ann")["title"] == "Lead"
        assert record_of(here, "ben")["active"] == "true"
        assert (await here.services.joins.get("user", ann)).dirty is False


async def test_escrows_are_tried_at_once_and_quarantine_state_ends_it(storage: str) -> None:
    async with world(storage) as here:
        ann = hire(here, "ann")
        at = here.clock() + timedelta(days=3)
        await here.services.escrows.write([Escrow(RETRY, f"user:{ann}", f"user:{ann}", created_at=here.clock(), next_at=at)])
        await here.services.quarantine.enter("EncounteredQuarantineException", CredentialsError("refused"))
        await here.services.operations.restart("QuarantineState,Escrows")
        await here.pump()
        assert (await here.services.operations.job())["status"]["quarantine"] is None
        assert await here.services.escrows.counts() == {}
        assert record_of(here, "ann")["active"] == "true"


async def test_a_restart_in_the_middle_of_a_cycle_leaves_no_second_chain(storage: str) -> None:
    async with world(storage) as here:
        for number in range(10):
            hire(here, f"p{number}")
        await here.services.operations.tick()
        await here.pump(until=lambda: bool(here.rows("sys_user")))
        for _ in range(3):
            await here.services.operations.restart("Full")
        await here.pump()
        mark = await here.services.watermarks.get("users")
        assert (mark.phase, mark.wants_full, mark.complete) == ("idle", False, mark.generation)
        assert sum(row["user_name"].startswith("p") for row in here.rows("sys_user").values()) == 10
        before = mark.generation
        await here.cycle()
        assert (await here.services.watermarks.get("users")).generation == before


async def test_held_deeds_do_not_take_the_place_of_a_quarantine_that_stops(storage: str) -> None:
    async with world(storage) as here:
        await here.services.quarantine.enter("TooManyDeletes", CredentialsError("held"))
        assert (await here.services.jobs.get(fresh=True)).may_write
        await here.services.quarantine.enter("EncounteredQuarantineException", CredentialsError("refused"))
        assert not (await here.services.jobs.get(fresh=True)).may_write
        await here.services.quarantine.enter("TooManyDeletes", CredentialsError("held"))
        await here.services.quarantine.leave("TooManyDeletes")
        assert not (await here.services.jobs.get(fresh=True)).may_write
