# What the identity of the app may do in Azure. Nothing here reaches beyond these three resources.

locals {
  # The host's own blobs (leases of the timers, keys) and the deployment package.
  blob_data_owner = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
  # Triggers, sending, and UpdateMessage, by which the host keeps a message hidden while it is worked on.
  queue_data_contributor = "974c5e8b-45b9-4653-ba55-5f855dd0fb88"
  # Links, watermarks, memberships, escrows, the job and the log.
  table_data_contributor = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"
  # Reading the secrets that the app settings refer to.
  key_vault_secrets_user = "4633458b-17de-408a-b874-0445c86b69e6"
  # Sending telemetry without an instrumentation key.
  monitoring_metrics_publisher = "3913510d-42f4-4e42-8a64-420c390055eb"

  role_definitions = "/subscriptions/${data.azurerm_client_config.current.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
}

resource "azurerm_role_assignment" "on_storage" {
  for_each = toset([local.blob_data_owner, local.queue_data_contributor, local.table_data_contributor])

  scope              = azurerm_storage_account.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = "${local.role_definitions}/${each.value}"
}

resource "azurerm_role_assignment" "on_vault" {
  scope              = azurerm_key_vault.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = "${local.role_definitions}/${local.key_vault_secrets_user}"
}

resource "azurerm_role_assignment" "on_insights" {
  scope              = azurerm_application_insights.main.id
  principal_id       = azurerm_user_assigned_identity.app.principal_id
  principal_type     = "ServicePrincipal"
  role_definition_id = "${local.role_definitions}/${local.monitoring_metrics_publisher}"
}
