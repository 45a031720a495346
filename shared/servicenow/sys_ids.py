"""Record ids that follow from what a record stands for, so that a repeated insert cannot make a second record.

The Table API takes a caller's own ``sys_id`` on insert and answers a second one with 403 (ServiceNow/PySNC,
``test_insert_custom_guid``). Whether an instance honours it shows in ``Written.altered["sys_id"]``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

SYS_ID_LENGTH: Final = 32
_SYS_ID = re.compile(r"[0-9A-Za-z_.\-]{1,32}")


def derived_sys_id(*parts: str) -> str:
    """32 lower-case hex digits that depend on the parts and their order alone, for ever.

    The first 128 bits of SHA-256 over each part's UTF-8 length and bytes: ``("ab", "c")`` and ``("a", "bc")`` differ. Case is
    the caller's: fold what the platform would hold equal. Raises ValueError if a part is missing.
    """
    if not parts or not all(parts):
        raise ValueError("a derived sys_id needs parts, none of them empty")
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:SYS_ID_LENGTH]


def is_sys_id(value: str) -> bool:
    """Whether the value can be a record's id. Not all are hexadecimal: ``glide.maint`` is one (Table API documentation)."""
    return _SYS_ID.fullmatch(value) is not None and value.strip(".") != ""
