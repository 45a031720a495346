"""A copy of the project in which faults can be planted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
_PARTS = ("infra", "functions", "shared", "docs", ".github")
_FILES = ("azure.yaml", ".funcignore", ".python-version", "Makefile", "host.json", "function_app.py", "requirements.txt")


class Plot:
    """The copy: change it, and see who notices. What is not changed stays a link to the project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        for part in (*_PARTS, *_FILES):
            (root / part).symlink_to(PROJECT / part)

    def plant(self, file: str, old: str, new: str) -> None:
        """Replace the first occurrence; the text must be there, or the test would prove nothing."""
        self._own(Path(file).parts[0])
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not contain {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def _own(self, part: str) -> None:
        place = self.root / part
        if not place.is_symlink():
            return
        place.unlink()
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / part, place)


@pytest.fixture
def plot(tmp_path: Path) -> Plot:
    """A copy of everything that the checks read."""
    return Plot(tmp_path / "project")
