# A virtual network: the app in one subnet, the private endpoints in the other, one fixed address to the outside.
# Inbound traffic is not touched: Graph must reach the webhook, and it knows public addresses only.

locals {
  network = var.private_network ? 1 : 0

  endpoints = var.private_network ? {
    blob  = { target = azurerm_storage_account.main.id, owner = azurerm_storage_account.main.name, zone = "privatelink.blob.core.windows.net" }
    queue = { target = azurerm_storage_account.main.id, owner = azurerm_storage_account.main.name, zone = "privatelink.queue.core.windows.net" }
    table = { target = azurerm_storage_account.main.id, owner = azurerm_storage_account.main.name, zone = "privatelink.table.core.windows.net" }
    vault = { target = azurerm_key_vault.main.id, owner = azurerm_key_vault.main.name, zone = "privatelink.vaultcore.azure.net" }
  } : {}
}

resource "azurerm_public_ip" "main" {
  count = local.network

  name                = "pip-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
  sku                 = "Standard"
  allocation_method   = "Static"
}

# Flex Consumption sends all outbound traffic through the network, and new networks have no way out of their own.
resource "azurerm_nat_gateway" "main" {
  count = local.network

  name                    = "ng-${local.token}"
  resource_group_name     = azurerm_resource_group.main.name
  location                = azurerm_resource_group.main.location
  tags                    = local.tags
  sku_name                = "Standard"
  idle_timeout_in_minutes = 4
}

resource "azurerm_nat_gateway_public_ip_association" "main" {
  count = local.network

  nat_gateway_id       = azurerm_nat_gateway.main[0].id
  public_ip_address_id = azurerm_public_ip.main[0].id
}

resource "azurerm_network_security_group" "main" {
  count = local.network

  name                = "nsg-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags

  security_rule {
    name                       = "no-inbound-from-internet"
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "Internet"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

resource "azurerm_virtual_network" "main" {
  count = local.network

  name                = "vnet-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
  address_space       = [var.address_prefix]
}

resource "azurerm_subnet" "app" {
  count = local.network

  name                            = "app"
  resource_group_name             = azurerm_resource_group.main.name
  virtual_network_name            = azurerm_virtual_network.main[0].name
  address_prefixes                = [cidrsubnet(var.address_prefix, 26 - tonumber(split("/", var.address_prefix)[1]), 0)]
  default_outbound_access_enabled = false

  delegation {
    name = "flex"

    service_delegation {
      name    = "Microsoft.App/environments"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  count = local.network

  name                              = "endpoints"
  resource_group_name               = azurerm_resource_group.main.name
  virtual_network_name              = azurerm_virtual_network.main[0].name
  address_prefixes                  = [cidrsubnet(var.address_prefix, 26 - tonumber(split("/", var.address_prefix)[1]), 1)]
  default_outbound_access_enabled   = false
  private_endpoint_network_policies = "Enabled"
}

resource "azurerm_subnet_nat_gateway_association" "app" {
  count = local.network

  subnet_id      = azurerm_subnet.app[0].id
  nat_gateway_id = azurerm_nat_gateway.main[0].id
}

resource "azurerm_subnet_network_security_group_association" "app" {
  count = local.network

  subnet_id                 = azurerm_subnet.app[0].id
  network_security_group_id = azurerm_network_security_group.main[0].id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  count = local.network

  subnet_id                 = azurerm_subnet.endpoints[0].id
  network_security_group_id = azurerm_network_security_group.main[0].id
}

resource "azurerm_private_dns_zone" "main" {
  for_each = local.endpoints

  name                = each.value.zone
  resource_group_name = azurerm_resource_group.main.name
  tags                = local.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "main" {
  for_each = local.endpoints

  name                  = "link-${each.key}"
  resource_group_name   = azurerm_resource_group.main.name
  private_dns_zone_name = azurerm_private_dns_zone.main[each.key].name
  virtual_network_id    = azurerm_virtual_network.main[0].id
  registration_enabled  = false
  tags                  = local.tags
}

resource "azurerm_private_endpoint" "main" {
  for_each = local.endpoints

  name                = "pe-${each.value.owner}-${each.key}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
  subnet_id           = azurerm_subnet.endpoints[0].id

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.target
    subresource_names              = [each.key]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "default"
    private_dns_zone_ids = [azurerm_private_dns_zone.main[each.key].id]
  }
}
