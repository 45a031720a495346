"""One world for the tests of a module: each test brings its own people, so that they do not meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.world import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(storage: str) -> AsyncIterator[World]:
    """A world with the packaged schema, after its first cycle over an empty directory."""
    async with world(storage) as made:
        await made.cycle()
        yield made
