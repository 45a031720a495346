"""One host for the tests of a module: nothing of it is changed by asking in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.hosted import Hosted, hosted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(storage: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosted]:
    """A small organisation after its first cycle."""
    async with hosted(storage, tmp_path_factory.mktemp("host"), users=6, groups=1) as world:
        await world.post("job/start")
        await world.cycled()
        yield world
