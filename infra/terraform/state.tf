# What the app remembers, and its secrets.

locals {
  queues = [
    "user-events",
    "user-events-poison",
    "group-events",
    "group-events-poison",
    "cycle-events",
    "cycle-events-poison",
  ]

  tables = [
    "joins",
    "owners",
    "memberships",
    "memberindex",
    "escrows",
    "watermarks",
    "progress",
    "job",
    "references",
    "subscriptions",
    "assignments",
    "schemas",
    "guard",
    "staged",
    "poison",
    "plans",
    "log",
    "logindex",
  ]
}

resource "azurerm_storage_account" "main" {
  name                = "st${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags

  account_kind = "StorageV2"
  account_tier = "Standard"
  # Three zones: queues and tables are the memory of the app.
  account_replication_type          = "ZRS"
  access_tier                       = "Hot"
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  default_to_oauth_authentication   = true
  local_user_enabled                = false
  public_network_access_enabled     = !var.private_network
  infrastructure_encryption_enabled = true
  queue_encryption_key_type         = "Account"
  table_encryption_key_type         = "Account"

  network_rules {
    default_action = var.private_network ? "Deny" : "Allow"
    bypass         = ["None"]
  }

  blob_properties {
    delete_retention_policy {
      days = 14
    }

    container_delete_retention_policy {
      days = 14
    }
  }
}

resource "azurerm_storage_container" "package" {
  name                  = "app-package"
  storage_account_id    = azurerm_storage_account.main.id
  container_access_type = "private"
}

resource "azurerm_storage_queue" "main" {
  for_each = toset(local.queues)

  name               = each.value
  storage_account_id = azurerm_storage_account.main.id
}

# azurerm makes tables through the storage account itself, which is closed to the deployer's network.
resource "azapi_resource" "table" {
  for_each = toset(local.tables)

  type      = "Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01"
  name      = each.value
  parent_id = "${azurerm_storage_account.main.id}/tableServices/default"
  body      = { properties = {} }
}

resource "azurerm_key_vault" "main" {
  name                = "kv-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags

  tenant_id                     = local.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  soft_delete_retention_days    = 90
  purge_protection_enabled      = true
  public_network_access_enabled = !var.private_network

  network_acls {
    default_action = var.private_network ? "Deny" : "Allow"
    bypass         = "None"
  }
}

resource "azurerm_management_lock" "storage" {
  count = var.deletion_lock ? 1 : 0

  name       = "keep"
  scope      = azurerm_storage_account.main.id
  lock_level = "CanNotDelete"
  notes      = "Links, watermarks and queues of the provisioning."
}

resource "azurerm_management_lock" "vault" {
  count = var.deletion_lock ? 1 : 0

  name       = "keep"
  scope      = azurerm_key_vault.main.id
  lock_level = "CanNotDelete"
  notes      = "Secrets of the provisioning."
}
