# Logs, alerts and the workbook. Alerts and workbook are data that Bicep reads too: infra/monitoring.

locals {
  alerts = jsondecode(file("${path.module}/../monitoring/alerts.json")).alerts

  diagnosed = {
    blobs  = "${azurerm_storage_account.main.id}/blobServices/default"
    queues = "${azurerm_storage_account.main.id}/queueServices/default"
    tables = "${azurerm_storage_account.main.id}/tableServices/default"
  }
}

resource "azurerm_log_analytics_workspace" "main" {
  name                            = "log-${local.token}"
  resource_group_name             = azurerm_resource_group.main.name
  location                        = azurerm_resource_group.main.location
  tags                            = local.tags
  sku                             = "PerGB2018"
  retention_in_days               = var.log_retention_days
  daily_quota_gb                  = var.log_daily_cap_gb
  local_authentication_enabled    = false
  allow_resource_only_permissions = true
}

resource "azurerm_application_insights" "main" {
  name                          = "appi-${local.token}"
  resource_group_name           = azurerm_resource_group.main.name
  location                      = azurerm_resource_group.main.location
  tags                          = local.tags
  application_type              = "web"
  workspace_id                  = azurerm_log_analytics_workspace.main.id
  local_authentication_disabled = true
  disable_ip_masking            = false
}

resource "azurerm_monitor_action_group" "main" {
  name                = "ag-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  tags                = local.tags
  short_name          = "provisioning"
  enabled             = true

  dynamic "email_receiver" {
    for_each = var.operator_email == "" ? [] : [var.operator_email]

    content {
      name                    = "operators"
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "main" {
  for_each = { for alert in local.alerts : alert.name => alert }

  name                    = "${each.key}-${local.token}"
  resource_group_name     = azurerm_resource_group.main.name
  location                = azurerm_resource_group.main.location
  tags                    = local.tags
  display_name            = "Provisioning: ${each.value.title}"
  description             = each.value.description
  severity                = each.value.severity
  enabled                 = true
  scopes                  = [azurerm_log_analytics_workspace.main.id]
  evaluation_frequency    = each.value.frequency
  window_duration         = each.value.window
  auto_mitigation_enabled = each.value.resolves
  # The tables appear with the first log line; a rule that is made before it must not be refused.
  skip_query_validation = true

  criteria {
    query                   = join("\n", each.value.query)
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = 0

    failing_periods {
      number_of_evaluation_periods             = 1
      minimum_failing_periods_to_trigger_alert = 1
    }
  }

  action {
    action_groups = [azurerm_monitor_action_group.main.id]
  }
}

resource "azurerm_application_insights_workbook" "main" {
  name                = uuidv5("url", "${azurerm_resource_group.main.id}/provisioning")
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
  display_name        = "Provisioning to ServiceNow"
  category            = "workbook"
  source_id           = lower(azurerm_log_analytics_workspace.main.id)
  data_json           = file("${path.module}/../monitoring/workbook.json")
}

resource "azurerm_monitor_diagnostic_setting" "storage" {
  for_each = local.diagnosed

  name                       = "to-workspace"
  target_resource_id         = each.value
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  dynamic "enabled_log" {
    for_each = var.log_storage_access ? ["StorageRead", "StorageWrite", "StorageDelete"] : []

    content {
      category = enabled_log.value
    }
  }

  enabled_metric {
    category = "Transaction"
  }
}

resource "azurerm_monitor_diagnostic_setting" "vault" {
  name                       = "to-workspace"
  target_resource_id         = azurerm_key_vault.main.id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category = "AuditEvent"
  }

  enabled_metric {
    category = "AllMetrics"
  }
}

resource "azurerm_monitor_diagnostic_setting" "app" {
  name                       = "to-workspace"
  target_resource_id         = azurerm_function_app_flex_consumption.main.id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  # What the functions log is in Application Insights already; here it would be paid for twice.
  enabled_log {
    category = "AppServiceAuthenticationLogs"
  }

  enabled_metric {
    category = "AllMetrics"
  }
}
