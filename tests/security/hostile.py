"""Values that mean something to somebody on their way: OData, encoded queries, scripts, HTML, paths, logs, spreadsheets."""

from __future__ import annotations

HOSTILE = (
    "' or PartitionKey ne '",
    "'; drop table staged; --",
    "O'Brien' or 1 eq 1 or 'a' eq '",
    "x^NQsys_idISNOTEMPTY",
    "x^ORactive=true^EQ",
    "javascript:gs.getUserID()",
    "javascript:new GlideRecord('sys_user')",
    "DYNAMIC90d1921e5f510100a9ad2572f2b477fe",
    "${gs.getUserID()} {{7*7}} %s %n",
    "a,b;c|d",
    '=HYPERLINK("http://x")',
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../job/pause",
    "\u202eevil",
    "e\u0301\U0001f642",
)
#: With them, what no directory would hold but a request may.
HOSTILE_IN_REQUESTS = (*HOSTILE, "\u202e\u0000\r\nforged: line", "\u00e4" * 300, "NULL", "[object Object]", "-1")
