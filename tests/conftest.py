"""Storage for all tests: one Azurite in memory, started when the first test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """A connection string."""
    azurite = Azurite()
    azurite.start()
    try:
        yield azurite.connection_string
    finally:
        azurite.stop()
