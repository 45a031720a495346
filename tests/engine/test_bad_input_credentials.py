"""A wrong secret stops the job at once; a column that nobody can be matched by stops nobody's record from being left alone."""

from __future__ import annotations

from sandbox.instance import InstanceConfig
from tests.support.people import hire, record_of
from tests.support.schemas import variant
from tests.support.world import another_worker, world


async def test_a_wrong_secret_is_quarantine_at_once_without_hammering_and_heals_by_a_probe(storage: str) -> None:
    async with world(storage, SERVICENOW_PASSWORD="wrong", instance=InstanceConfig(lock_after_failed_logins=5)) as here:
        people = [hire(here, f"person{number}") for number in range(40)]
        await here.cycle()
        job = await here.services.operations.job()
        assert job["status"]["code"] == "Quarantine"
        assert job["status"]["quarantine"]["reason"] == "EncounteredQuarantineException"
        assert job["status"]["quarantine"]["error"]["code"] == "Unauthorized"
        assert "wrong" not in str(job)
        assert await here.services.operations.health() != []
        tried = here.requests()
        assert tried <= 4, "an account is locked after five refused sign-ins"

        for _ in range(3):
            here.clock.advance(60)
            await here.cycle()
        assert here.requests() == tried, "nothing may be asked before the probe is due"

        here.clock.advance(300)
        await here.services.operations.tick()
        assert here.requests() == tried + 1
        assert (await here.services.jobs.get(fresh=True)).quarantine is not None

        here.instance.instance.configure(lock_after_failed_logins=None)
        async with another_worker(here, storage) as healed:
            healed.clock.advance(3600)
            await healed.cycle()
            await healed.later(120)
            assert (await healed.services.operations.job())["status"]["code"] == "Active"
            for number, person in enumerate(people):
                assert record_of(healed, f"person{number}")["active"] == "true"
                assert (await healed.ended(person))[0] == "success"


async def test_a_matching_column_that_does_not_exist_is_named_and_writes_nothing(storage: str) -> None:
    mappings = variant(matching="u_anchor", added=[("u_anchor", "mailNickname")])
    async with world(storage, mappings=mappings) as here:
        start = here.instance.instance.commits.last
        ann = hire(here, "ann")
        await here.cycle()
        assert here.instance.instance.commits.last == start
        assert await here.ended(ann) == ("failure", "SchemaAttributeNotFound")
        reason = (await here.log_of(ann))[0]["provisioningStatusInfo"]["errorInformation"]["reason"]
        assert "sys_user.u_anchor" in reason
        assert (await here.services.escrows.counts())["retry"] == 1
