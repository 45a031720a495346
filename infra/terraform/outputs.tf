output "resource_group" {
  description = "Resource group of the deployment."
  value       = azurerm_resource_group.main.name
}

output "function_app" {
  description = "Name of the function app."
  value       = azurerm_function_app_flex_consumption.main.name
}

output "url" {
  description = "Base URL of the app."
  value       = "https://${azurerm_function_app_flex_consumption.main.default_hostname}"
}

output "identity_principal_id" {
  description = "Object id of the managed identity of the app: it gets the Graph permissions (python -m infra.entra grant)."
  value       = azurerm_user_assigned_identity.app.principal_id
}

output "key_vault" {
  description = "The vault that holds the secrets."
  value       = azurerm_key_vault.main.name
}

output "outbound_address" {
  description = "The one address that the app calls ServiceNow from; empty without a virtual network."
  value       = var.private_network ? azurerm_public_ip.main[0].ip_address : ""
}
