"""The timers: start a cycle, keep the subscriptions alive, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

if TYPE_CHECKING:
    from functions.worker import Worker


def blueprint(worker: Worker) -> func.Blueprint:
    part = func.Blueprint()
    schedules = worker.settings.schedules

    @part.function_name("cycle")
    @part.timer_trigger("timer", schedules.cycle)
    async def cycle(timer: func.TimerRequest) -> None:
        del timer
        services = await worker.services()
        await services.operations.tick()

    @part.function_name("subscriptions")
    @part.timer_trigger("timer", schedules.subscriptions)
    async def subscriptions(timer: func.TimerRequest) -> None:
        del timer
        services = await worker.services()
        await services.subscribing.ensure(ask=True)

    @part.function_name("verify")
    @part.timer_trigger("timer", schedules.verify)
    async def verify(timer: func.TimerRequest) -> None:
        del timer
        services = await worker.services()
        await services.verification.begin()

    return part
