"""Write the kept lists of names anew from what the vendors publish: ``python -m infra.check.refresh``.

``arm.json`` holds the writable property names of every Azure resource type that the Bicep files use. They come from the model
classes of the management SDKs for Python, which Microsoft generates from the same API specifications as Bicep's own types.
``azurerm.json`` holds the attribute and block names of every Terraform resource that is used, from the bindings that HashiCorp
generates from the provider's schema. Both are downloaded into a temporary directory; only names are kept.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

#: Resource type, API version, SDK package, module of the models, class of what is sent in a PUT. One differs from the
#: version that is kept: the newest SDK has scheduledQueryRules as a preview only, with the same names.
ARM_SOURCES = """
Microsoft.Resources/resourceGroups 2022-09-01 resource resource/resources/v2022_09_01 ResourceGroup
Microsoft.Authorization/locks 2016-09-01 resource resource/locks/v2016_09_01 ManagementLockObject
Microsoft.Authorization/roleAssignments 2022-04-01 authorization authorization/v2022_04_01 RoleAssignmentCreateParameters
Microsoft.ManagedIdentity/userAssignedIdentities 2023-01-31 msi msi/v2023_01_31 Identity
Microsoft.Storage/storageAccounts 2024-01-01 storage storage/v2024_01_01 StorageAccountCreateParameters
Microsoft.Storage/storageAccounts/blobServices 2024-01-01 storage storage/v2024_01_01 BlobServiceProperties
Microsoft.Storage/storageAccounts/blobServices/containers 2024-01-01 storage storage/v2024_01_01 BlobContainer
Microsoft.Storage/storageAccounts/queueServices 2024-01-01 storage storage/v2024_01_01 QueueServiceProperties
Microsoft.Storage/storageAccounts/queueServices/queues 2024-01-01 storage storage/v2024_01_01 StorageQueue
Microsoft.Storage/storageAccounts/tableServices 2024-01-01 storage storage/v2024_01_01 TableServiceProperties
Microsoft.Storage/storageAccounts/tableServices/tables 2024-01-01 storage storage/v2024_01_01 Table
Microsoft.Web/serverfarms 2024-04-01 web web/v2024_04_01 AppServicePlan
Microsoft.Web/sites 2024-04-01 web web/v2024_04_01 Site
Microsoft.Web/sites/config/authsettingsV2 2024-04-01 web web/v2024_04_01 SiteAuthSettingsV2
Microsoft.Web/sites/config/appsettings 2024-04-01 web web/v2024_04_01 StringDictionary
Microsoft.Web/sites/basicPublishingCredentialsPolicies 2024-04-01 web web/v2024_04_01 CsmPublishingCredentialsPoliciesEntity
Microsoft.KeyVault/vaults 2023-07-01 keyvault keyvault/v2023_07_01 VaultCreateOrUpdateParameters
Microsoft.KeyVault/vaults/secrets 2023-07-01 keyvault keyvault/v2023_07_01 SecretCreateOrUpdateParameters
Microsoft.OperationalInsights/workspaces 2021-06-01 loganalytics loganalytics Workspace
Microsoft.Insights/components 2020-02-02 applicationinsights applicationinsights/v2020_02_02 ApplicationInsightsComponent
Microsoft.Insights/workbooks 2023-06-01 applicationinsights applicationinsights/v2023_06_01 Workbook
Microsoft.Insights/actionGroups 2023-01-01 monitor monitor/v2023_01_01 ActionGroupResource
Microsoft.Insights/scheduledQueryRules 2022-06-15 monitor monitor/v2022_08_01_preview ScheduledQueryRuleResource
Microsoft.Insights/diagnosticSettings 2021-05-01-preview monitor monitor/v2021_05_01_preview DiagnosticSettingsResource
Microsoft.Network/virtualNetworks 2024-05-01 network network VirtualNetwork
Microsoft.Network/networkSecurityGroups 2024-05-01 network network NetworkSecurityGroup
Microsoft.Network/natGateways 2024-05-01 network network NatGateway
Microsoft.Network/publicIPAddresses 2024-05-01 network network PublicIPAddress
Microsoft.Network/privateEndpoints 2024-05-01 network network PrivateEndpoint
Microsoft.Network/privateEndpoints/privateDnsZoneGroups 2024-05-01 network network PrivateDnsZoneGroup
Microsoft.Network/privateDnsZones 2024-06-01 privatedns privatedns PrivateZone
Microsoft.Network/privateDnsZones/virtualNetworkLinks 2024-06-01 privatedns privatedns VirtualNetworkLink
"""
SDK_VERSIONS = {
    "resource": "23.2.0",
    "authorization": "4.0.0",
    "msi": "7.0.0",
    "storage": "22.1.1",
    "web": "8.0.0",
    "keyvault": "10.3.1",
    "loganalytics": "12.0.0",
    "applicationinsights": "4.1.0",
    "monitor": "6.0.2",
    "network": "28.1.0",
    "privatedns": "1.2.0",
}
BINDINGS = "@cdktf/provider-azurerm@14.23.1"
TERRAFORM_RESOURCES = (
    "application_insights",
    "application_insights_workbook",
    "function_app_flex_consumption",
    "key_vault",
    "log_analytics_workspace",
    "management_lock",
    "monitor_action_group",
    "monitor_diagnostic_setting",
    "monitor_scheduled_query_rules_alert_v2",
    "nat_gateway",
    "nat_gateway_public_ip_association",
    "network_security_group",
    "private_dns_zone",
    "private_dns_zone_virtual_network_link",
    "private_endpoint",
    "public_ip",
    "resource_group",
    "role_assignment",
    "service_plan",
    "storage_account",
    "storage_container",
    "storage_queue",
    "subnet",
    "subnet_nat_gateway_association",
    "subnet_network_security_group_association",
    "user_assigned_identity",
    "virtual_network",
)
#: Deeper than any of the resources needs; some network types contain themselves.
_DEPTH = 9
_FREE = "*"

type Names = dict[str, Any] | str


def main() -> int:
    """Download, extract, write."""
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work)
        packages = [f"azure-mgmt-{name}=={version}" for name, version in SDK_VERSIONS.items()]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory / "sdk"), *packages]
        subprocess.run(pip, check=True)  # noqa: S603 - fixed arguments
        npm = ["npm", "pack", "--silent", BINDINGS]
        subprocess.run(npm, cwd=directory, check=True)  # noqa: S603 - fixed arguments
        archive = next(directory.glob("*.tgz"))
        with tarfile.open(archive) as packed:
            packed.extractall(directory, filter="data")
        _write("arm.json", arm_names(directory / "sdk" / "azure" / "mgmt"))
        _write("azurerm.json", terraform_names(directory / "package" / "lib"))
    return 0


def arm_names(sdks: Path) -> dict[str, Any]:
    """Property names by ``type@version``: an object is an object, "" a value or a list of values, "*" a free map."""
    names: dict[str, Any] = {}
    for kind, version, package, module, name in (row.split() for row in ARM_SOURCES.strip().splitlines()):
        names[f"{kind}@{version}"] = {
            "source": f"azure-mgmt-{package} {SDK_VERSIONS[package]}, {module.rpartition('/')[2]}, {name}",
            "names": names_of(sdks / module / "models" / "_models_py3.py", name),
        }
    return names


def names_of(models: Path, name: str) -> Names:
    """The writable names of one model class, from the source of an SDK's models."""
    return _Models(models.read_text(encoding="utf-8")).shape(name)


class _Models:
    """The model classes of one API version, read as text: nothing is imported."""

    def __init__(self, source: str) -> None:
        self._classes: dict[str, dict[str, Any]] = {}
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                self._classes[node.name] = {
                    target.id: ast.literal_eval(statement.value)
                    for statement in node.body
                    if isinstance(statement, ast.Assign)
                    and isinstance(target := statement.targets[0], ast.Name)
                    and target.id in {"_attribute_map", "_validation", "_subtype_map"}
                }

    def shape(self, name: str, depth: int = 0) -> Names:
        """The writable names of a class, those of its subclasses included."""
        if name not in self._classes:
            return ""
        if depth >= _DEPTH:
            return _FREE
        model = self._classes[name]
        readonly = {key for key, rules in model.get("_validation", {}).items() if rules.get("readonly")}
        tree: dict[str, Any] = {}
        for attribute, meaning in model.get("_attribute_map", {}).items():
            if attribute in readonly:
                continue
            path = [part.replace("\0", ".") for part in meaning["key"].replace("\\.", "\0").split(".")]
            place = tree
            for part in path[:-1]:
                following = place.setdefault(part, {})
                place = following if isinstance(following, dict) else place
            _merge(place, {path[-1]: self._value(meaning["type"], depth)})
        for subclasses in model.get("_subtype_map", {}).values():
            for subclass in subclasses.values():
                shape = self.shape(subclass, depth)
                _merge(tree, shape if isinstance(shape, dict) else {})
        return tree

    def _value(self, kind: str, depth: int) -> Names:
        if kind.startswith("{"):
            return _FREE
        if kind.startswith("["):
            return self._value(kind[1:-1], depth)
        return _FREE if kind in {"object", "JSON"} else self.shape(kind, depth + 1)


def _merge(tree: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in other.items():
        present = tree.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        else:
            tree[name] = value


_INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r"#(\w+) \w+#\w+\}(?:(?!\*/).)*\*/\s*readonly \w+(\??): ([^;{]+|\{[^}]*\});", re.DOTALL)


def terraform_names(library: Path) -> dict[str, Any]:
    """Attributes and blocks by resource: {"attributes": [...], "required": [...], "blocks": {name: the same}}."""
    names: dict[str, Any] = {"source": f"{BINDINGS}, generated from hashicorp/azurerm 4.55.0"}
    for resource in TERRAFORM_RESOURCES:
        names[f"azurerm_{resource}"] = block_of(library / resource.replace("_", "-") / "index.d.ts")
    return names


def block_of(bindings: Path) -> dict[str, Any]:
    """The attributes and blocks of one resource, from the declarations of its binding."""
    text = bindings.read_text(encoding="utf-8")
    root = re.search(r"^export interface (\w+Config) extends cdktf.TerraformMetaArguments", text, re.MULTILINE)
    if root is None:
        raise ValueError(f"{bindings} declares no resource")
    return _block(root[1], dict(_INTERFACE.findall(text)))


def _block(name: str, interfaces: dict[str, str]) -> dict[str, Any]:
    attributes, required, blocks = [], [], {}
    for member, optional, kind in _MEMBER.findall(interfaces[name]):
        inner = re.match(r"(\w+)", kind)
        if inner is not None and inner[1] in interfaces:
            blocks[member] = _block(inner[1], interfaces)
        else:
            attributes.append(member)
        if not optional:
            required.append(member)
    return {"attributes": sorted(attributes), "required": sorted(required), "blocks": blocks}


def _write(name: str, content: dict[str, Any]) -> None:
    (HERE / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
