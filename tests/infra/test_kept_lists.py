"""How the kept lists are made from what the vendors publish, and what the command says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.check import __main__ as command, refresh

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.infra.conftest import Plot

_MODELS = """
class Site(Model):
    _validation = {"state": {"readonly": True}}
    _attribute_map = {
        "location": {"key": "location", "type": "str"},
        "state": {"key": "properties.state", "type": "str"},
        "config": {"key": "properties.siteConfig", "type": "SiteConfig"},
        "rules": {"key": "properties.rules", "type": "[Rule]"},
        "settings": {"key": "properties.settings", "type": "{str}"},
        "odd": {"key": "odata\\\\.type", "type": "str"},
    }

class SiteConfig(Model):
    _attribute_map = {"tls": {"key": "minTlsVersion", "type": "str"}}

class Rule(Model):
    _subtype_map = {"kind": {"A": "RuleA"}}
    _attribute_map = {"name": {"key": "name", "type": "str"}}

class RuleA(Rule):
    _attribute_map = {"name": {"key": "name", "type": "str"}, "only": {"key": "onlyA", "type": "str"}}
"""
_BINDINGS = """
export interface StorageQueueConfig extends cdktf.TerraformMetaArguments {
    /**
    * Docs at Terraform Registry: {@link https://x/storage_queue#name StorageQueue#name}
    */
    readonly name: string;
    /**
    * rules block
    *
    * Docs at Terraform Registry: {@link https://x/storage_queue#cors_rule StorageQueue#cors_rule}
    */
    readonly corsRule?: StorageQueueCorsRule[] | cdktf.IResolvable;
    /**
    * Docs at Terraform Registry: {@link https://x/storage_queue#metadata StorageQueue#metadata}
    */
    readonly metadata?: {
        [key: string]: string;
    };
}
export interface StorageQueueCorsRule {
    /**
    * Docs at Terraform Registry: {@link https://x/storage_queue#allowed_methods StorageQueue#allowed_methods}
    */
    readonly allowedMethods: string[];
}
"""


def test_writable_names_are_kept_with_nested_ones_and_those_of_subclasses(tmp_path: Path) -> None:
    models = tmp_path / "web" / "models" / "_models_py3.py"
    models.parent.mkdir(parents=True)
    models.write_text(_MODELS, encoding="utf-8")
    names = refresh.names_of(models, "Site")
    assert names == {
        "location": "",
        "odata.type": "",
        "properties": {"siteConfig": {"minTlsVersion": ""}, "rules": {"name": "", "onlyA": ""}, "settings": "*"},
    }


def test_attributes_blocks_and_what_is_required_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "index.d.ts"
    file.write_text(_BINDINGS, encoding="utf-8")
    assert refresh.block_of(file) == {
        "attributes": ["metadata", "name"],
        "required": ["name"],
        "blocks": {"cors_rule": {"attributes": ["allowed_methods"], "required": ["allowed_methods"], "blocks": {}}},
    }


def test_the_command_fails_with_a_fault_and_names_what_did_not_run(
    plot: Plot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(plot.root)
    assert command.main(plot.root) == 0
    assert "not run  bicep build: bicep is not installed: nothing here was compiled" in capsys.readouterr().out
    plot.plant("infra/bicep/state.bicep", "  'cycle-events'\n", "")
    assert command.main(plot.root) == 1
    assert "the queue cycle-events is missing" in capsys.readouterr().out
