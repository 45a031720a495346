"""The shell and the ServiceNow script, run against stand-ins."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.infra.conftest import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

_AZ = """#!/bin/sh
echo "$@" >>"{log}"
case $1 in
  account) echo 00000000-0000-0000-0000-000000000009 ;;
  rest) for word in "$@"; do case $word in @*) cat "${{word#@}}" >"{body}" ;; esac; done ;;
esac
"""
#: Just enough of GlideRecord to run setup.js twice on one set of tables.
_GLIDE = """
const fs = require('fs'), vm = require('vm');
const tables = {}, printed = [];
const seed = (table, name) => (tables[table] ??= []).push({ sys_id: 'seed-' + table + '-' + name, name });
seed('sys_security_type', 'record');
for (const name of process.argv[2].split(',')) seed('sys_security_operation', name);
let next = 0;
class GlideRecord {
  constructor(table) { this.rows = tables[table] ??= []; this.conditions = []; this.at = -1; this.values = {}; }
  addQuery(name, value) { this.conditions.push([name, value]); }
  query() { this.found = this.rows.filter(row => this.conditions.every(([name, value]) => row[name] === value)); }
  next() { return ++this.at < this.found.length; }
  getUniqueValue() { return this.found[this.at].sys_id; }
  initialize() {}
  setValue(name, value) { this.values[name] = value; }
  insert() { const row = { sys_id: 'id' + next++, ...this.values }; this.rows.push(row); return row.sys_id; }
}
const context = vm.createContext({ GlideRecord, gs: { print: line => printed.push(line) } });
const source = fs.readFileSync(process.argv[1], 'utf8');
vm.runInContext(source, context);
const first = printed.splice(0), rows = JSON.stringify(tables);
vm.runInContext(source, context);
console.log(JSON.stringify({ first, second: printed, same: rows === JSON.stringify(tables), tables }));
"""


def _secret(tmp_path: Path, *arguments: str, value: str = "") -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    log, body = tmp_path / "az.log", tmp_path / "body.json"
    program = tmp_path / "bin" / "az"
    program.parent.mkdir()
    program.write_text(_AZ.format(log=log, body=body), encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(  # noqa: S603 - the project's own script
        ["/bin/sh", str(PROJECT / "infra/secret.sh"), *arguments],
        input=value,
        text=True,
        capture_output=True,
        check=False,
        env={"PATH": f"{program.parent}:/usr/bin:/bin"},
    )
    return done, log, body


def test_a_secret_is_written_through_resource_manager_and_never_shown(tmp_path: Path) -> None:
    value = 'a"b\\c/d&e $HOME'
    done, log, body = _secret(tmp_path, "rg", "kv", "SERVICENOW-CLIENT-SECRET", value=value + "\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(body.read_text(encoding="utf-8")) == {"properties": {"value": value}}
    commands = log.read_text(encoding="utf-8")
    assert "resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv/secrets/SERVICENOW-CLIENT-SECRET" in commands
    assert value not in commands + done.stdout + done.stderr


def test_a_random_secret_fits_what_graph_takes(tmp_path: Path) -> None:
    done, _, body = _secret(tmp_path, "rg", "kv", "NOTIFICATION-CLIENT-STATE", "--random")
    assert done.returncode == 0, done.stderr
    value = json.loads(body.read_text(encoding="utf-8"))["properties"]["value"]
    assert len(value) == 64
    assert int(value, 16)


@pytest.mark.parametrize(("name", "value", "code"), [("SERVICENOW-SECRET", "x\n", 2), ("SERVICENOW-PASSWORD", "", 1)])
def test_an_unknown_name_or_an_empty_value_writes_nothing(tmp_path: Path, name: str, value: str, code: int) -> None:
    done, log, _ = _secret(tmp_path, "rg", "kv", name, value=value)
    assert done.returncode == code
    assert not log.exists()


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize("operations", ["read,create,write,delete,query_match,query_range", "read,create,write,delete"])
def test_the_servicenow_script_makes_everything_once(operations: str) -> None:
    node = shutil.which("node")
    assert node
    done = subprocess.run(  # noqa: S603 - the project's own script
        [node, "-e", _GLIDE, "--", str(PROJECT / "infra/servicenow/setup.js"), operations],
        text=True,
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["same"]
    assert not any(line.startswith(("created", "REFUSED", "STOPPED")) for line in answer["second"])
    tables = answer["tables"]
    assert [user["web_service_access_only"] for user in tables["sys_user"]] == ["true"]
    rules = {
        (rule["name"], rule["operation"].removeprefix("seed-sys_security_operation-")) for rule in tables["sys_security_acl"]
    }
    assert ("sys_user_grmember", "delete") in rules
    assert ("sys_user", "delete") not in rules
    assert (("sys_user", "query_range") in rules) == ("query_range" in operations)
    roles = {role["sys_user_role"] for role in tables["sys_security_acl_role"]}
    assert roles == {tables["sys_user_role"][0]["sys_id"]}
    assert len(tables["sys_security_acl_role"]) == len(tables["sys_security_acl"])
    assert {(column["name"], column["unique"]) for column in tables["sys_dictionary"]} == {
        ("sys_user", "true"),
        ("sys_user_group", "true"),
    }
