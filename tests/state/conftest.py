"""Empty tables for each test, and a clock that tests turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shared.settings import Storage
from shared.state.tables import Tables
from tests.support.storage import empty_tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def turn(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tables(storage: str) -> AsyncIterator[Tables]:
    """The app's tables, empty."""
    tables = Tables.open(Storage(storage))
    await empty_tables(tables)
    tables.requests.clear()
    yield tables
    await tables.aclose()


@pytest.fixture
async def other(storage: str) -> AsyncIterator[Tables]:
    """The same tables as another process sees them."""
    tables = Tables.open(Storage(storage))
    yield tables
    await tables.aclose()
