# Provisioning from Microsoft Entra ID to ServiceNow: everything in Azure that the app needs, in one resource group.
# The same architecture as infra/bicep. Secrets are never seen by Terraform, so that its state holds none: infra/secret.sh
# writes them into the vault.

data "azurerm_client_config" "current" {}

locals {
  tenant_id = data.azurerm_client_config.current.tenant_id
  token     = substr(sha256("${data.azurerm_client_config.current.subscription_id}/${var.environment_name}/${var.location}"), 0, 13)
  tags      = merge(var.tags, { "azd-env-name" = var.environment_name, application = "entra-servicenow-provisioning" })
}

resource "azurerm_resource_group" "main" {
  name     = var.resource_group_name == "" ? "rg-provisioning-${var.environment_name}" : var.resource_group_name
  location = var.location
  tags     = local.tags
}

resource "azurerm_user_assigned_identity" "app" {
  name                = "id-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
}
