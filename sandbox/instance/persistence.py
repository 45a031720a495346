"""Keeping the instance's rows in a directory, as one JSON file that is replaced as a whole."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .instance import Instance

FILE: Final = "instance.json"
INTERVAL: Final = 3.0


class DataDirectory:
    """Loads the rows at start and saves them every few seconds while they change, and at the end.

    ``path`` is a directory, or a file whose name ends in ``.json``.
    """

    def __init__(self, instance: Instance, path: Path) -> None:
        self._instance = instance
        self._file = path if path.suffix == ".json" else path / FILE
        self._saved = -1

    async def load(self) -> None:
        """Take over the rows of an earlier run, if there are any; raise ValueError if the file is damaged."""
        document = await asyncio.to_thread(self._read)
        if document is not None:
            self._instance.restore(document["tables"])
            self._instance.commits.last = int(document.get("last_commit", 0))
        self._saved = self._instance.commits.last if document is not None else -1

    async def save(self) -> None:
        """Write the rows if they have changed since they were last written."""
        last = self._instance.commits.last
        if last == self._saved:
            return
        document = {"last_commit": last, "tables": self._instance.snapshot()}
        await asyncio.to_thread(self._write, document)
        self._saved = last

    async def keep_saving(self) -> None:
        """Save for ever, every few seconds."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.save()

    def _read(self) -> dict[str, Any] | None:
        if not self._file.exists():
            return None
        document = json.loads(self._file.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not isinstance(document.get("tables"), dict):
            raise ValueError(f"{self._file} is not an instance's data; delete it to start afresh")  # noqa: TRY004 - a damaged file
        return document

    def _write(self, document: Mapping[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        beside.replace(self._file)
