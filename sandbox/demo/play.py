"""After the last act: everything stays up, with examples to change people by hand, and each committed write is shown."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sandbox.demo.servicenow import Commit, ServiceNow
    from sandbox.demo.stage import Stage

_WAIT: Final = 5.0
_NAMES: Final = {"sys_user": "user_name", "sys_user_group": "name"}


def invitation(stage: Stage, user_name: str) -> str:
    """Where everything is, and what to type."""
    key, master = stage.host.keys["default"], stage.host.keys["master"]
    graph = f"curl -s -H 'Authorization: Bearer {stage.token}' -H 'Content-Type: application/json'"
    query = f"sysparm_query=user_name={user_name}&sysparm_display_value=true&sysparm_fields=user_name,title,department,active"
    return "\n".join(
        (
            "Everything stays up; try it:",
            f"  Entra tenant         {stage.graph_url}",
            f"  ServiceNow instance  {stage.instance_url}   (admin / admin)",
            f"  Functions host       {stage.host.url}",
            f"  logs                 {stage.directory / 'logs'}",
            "",
            "  Promote somebody in Entra:",
            f'    {graph} -X PATCH -d \'{{"jobTitle": "Chief Juggler"}}\' {stage.graph_url}/users/{user_name}',
            "  See it in ServiceNow:",
            f"    curl -s -u admin:admin '{stage.instance_url}/api/now/table/sys_user?{query}'",
            "  Ask the app how it is, and what it did last:",
            f"    curl -s -H 'x-functions-key: {key}' {stage.host.url}/api/job",
            f"    curl -s -H 'x-functions-key: {key}' '{stage.host.url}/api/logs?$top=1'",
            "  Run a cycle now:",
            f"    curl -s -X POST -H 'x-functions-key: {master}' -d '{{}}' {stage.host.url}/admin/functions/cycle",
            "",
            "Every write that ServiceNow commits is shown below. Ctrl-C ends everything.",
        )
    )


async def follow(stage: Stage, servicenow: ServiceNow) -> str:
    """Print committed writes until a part ends on its own; returns its name."""
    since = await servicenow.last_commit()
    while (ended := stage.ended()) is None:
        for commit in await servicenow.commits(since, wait=_WAIT):
            since = commit.seq
            print(await _told(servicenow, commit), flush=True)
        # An answer without commits may come at once: other tables' writes are not worth a busy loop.
        await asyncio.sleep(0)
    return ended


async def _told(servicenow: ServiceNow, commit: Commit) -> str:
    at = datetime.fromtimestamp(commit.at).astimezone().strftime("%H:%M:%S")
    column = _NAMES.get(commit.table, "sys_id")
    rows = await servicenow.rows(commit.table, f"sys_id={commit.sys_id}", fields=column)
    name = rows[0][column] if rows else commit.sys_id
    shown = sorted(name for name in commit.fields if not name.startswith("sys_"))
    return f"  {at}  {commit.verb} {commit.table} {name}: {', '.join(shown) or '-'} (by {commit.by})"
