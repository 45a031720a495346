"""The deployment package: ``python -m infra.package [FILE]``, dist/app.zip by default.

The same files give the same bytes, wherever and whenever: sorted, with one time and one mode. What is left out is said in
``.funcignore``, which azd and Azure Functions Core Tools read too.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path

#: The earliest time that a zip can hold.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


def main(arguments: list[str]) -> int:
    """Write the package and print its size and hash."""
    root = Path(__file__).parent.parent
    target = Path(arguments[0]) if arguments else root / "dist" / "app.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    files = write(root, target)
    size = target.stat().st_size
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    shown = target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target
    print(f"{shown}: {len(files)} files, {size:,} bytes ({size / 1024:.0f} KiB), sha256 {digest}")
    return 0


def write(root: Path, target: Path) -> list[str]:
    """Write the zip; the files in it."""
    files = packaged_files(root)
    with zipfile.ZipFile(target, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file, date_time=_TIME)
            entry.external_attr = _MODE
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (root / file).read_bytes(), compresslevel=9)
    return files


def packaged_files(root: Path) -> list[str]:
    """The project's files that are deployed, relative and sorted."""
    patterns = ignored(root / ".funcignore")
    return sorted(file for file in _project_files(root) if not is_ignored(file, patterns))


def ignored(path: Path) -> list[str]:
    """The patterns of a .funcignore. Only plain ones are understood here: no negation, no pattern with a slash inside."""
    patterns = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
    for pattern in patterns:
        if pattern.startswith("!") or "/" in pattern.rstrip("/"):
            raise ValueError(f"{path.name}: '{pattern}' is more than this tool understands")
    return patterns


def is_ignored(file: str, patterns: list[str]) -> bool:
    """Whether a pattern matches the file's name or one of its directories; one that ends in a slash matches directories."""
    *directories, name = file.split("/")
    for pattern in patterns:
        bare = pattern.rstrip("/")
        if any(fnmatchcase(directory, bare) for directory in directories):
            return True
        if not pattern.endswith("/") and fnmatchcase(name, bare):
            return True
    return False


def _project_files(root: Path) -> list[str]:
    """What git knows or would take; every file where there is no git."""
    git = shutil.which("git")
    if git is not None:
        command = [git, "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - fixed arguments
        if listing.returncode == 0 and listing.stdout:
            names = listing.stdout.decode().split("\0")
            return [name for name in dict.fromkeys(names) if name and (root / name).is_file()]
    return [str(path.relative_to(root)) for path in root.rglob("*", recurse_symlinks=True) if path.is_file()]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
