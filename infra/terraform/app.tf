# The function app: plan, site, settings, sign-in.

locals {
  sign_in = var.operator_client_id != ""
  # Graph proves itself by clientState, and monitors need no permission to see whether the app is well.
  anonymous_paths = ["/api/notifications", "/api/lifecycle", "/api/health"]
  # Azure CLI, so that an operator can get a token without another registration.
  azure_cli          = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
  uses_client_secret = contains(["oauth_client_credentials", "oauth_password"], var.servicenow_auth)
  uses_password      = contains(["oauth_password", "basic"], var.servicenow_auth)
  secret             = "@Microsoft.KeyVault(SecretUri=${azurerm_key_vault.main.vault_uri}secrets/"

  host_settings = {
    # The provider would write a connection string with a key otherwise, and this account has none.
    AzureWebJobsStorage                       = ""
    AzureWebJobsStorage__credential           = "managedidentity"
    AzureWebJobsStorage__clientId             = azurerm_user_assigned_identity.app.client_id
    AzureWebJobsStorage__blobServiceUri       = azurerm_storage_account.main.primary_blob_endpoint
    AzureWebJobsStorage__queueServiceUri      = azurerm_storage_account.main.primary_queue_endpoint
    AzureWebJobsStorage__tableServiceUri      = azurerm_storage_account.main.primary_table_endpoint
    AZURE_CLIENT_ID                           = azurerm_user_assigned_identity.app.client_id
    APPLICATIONINSIGHTS_CONNECTION_STRING     = azurerm_application_insights.main.connection_string
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "ClientId=${azurerm_user_assigned_identity.app.client_id};Authorization=AAD"
  }

  # Sign-in without a secret: the identity of the app vouches for the registration (a federated credential).
  sign_in_settings = local.sign_in ? {
    OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID = azurerm_user_assigned_identity.app.client_id
    WEBSITE_AUTH_AAD_ALLOWED_TENANTS       = local.tenant_id
  } : {}

  app_settings = {
    GRAPH_BASE_URL                     = var.graph_base_url
    GRAPH_REPLICATION_GRACE            = var.graph_replication_grace
    ENTRA_SERVICE_PRINCIPAL_ID         = var.service_principal_id
    PROVISIONING_SCOPE                 = var.provisioning_scope
    PROVISIONING_SCHEMA                = var.provisioning_schema
    SERVICENOW_INSTANCE_URL            = var.servicenow_instance_url
    SERVICENOW_AUTH                    = var.servicenow_auth
    SERVICENOW_USERNAME                = var.servicenow_username
    SERVICENOW_PASSWORD                = local.uses_password ? "${local.secret}SERVICENOW-PASSWORD)" : ""
    SERVICENOW_CLIENT_ID               = var.servicenow_client_id
    SERVICENOW_CLIENT_SECRET           = local.uses_client_secret ? "${local.secret}SERVICENOW-CLIENT-SECRET)" : ""
    SERVICENOW_API_KEY                 = var.servicenow_auth == "api_key" ? "${local.secret}SERVICENOW-API-KEY)" : ""
    SERVICENOW_MAX_CONCURRENCY         = tostring(var.servicenow_max_concurrency)
    NOTIFICATION_URL                   = var.notification_url
    NOTIFICATION_CLIENT_STATE          = "${local.secret}NOTIFICATION-CLIENT-STATE)"
    NOTIFICATION_CLIENT_STATE_PREVIOUS = var.client_state_rotates ? "${local.secret}NOTIFICATION-CLIENT-STATE-PREVIOUS)" : ""
    CYCLE_SCHEDULE                     = var.cycle_schedule
    SUBSCRIPTION_SCHEDULE              = var.subscription_schedule
    VERIFY_SCHEDULE                    = var.verify_schedule
    DELETE_THRESHOLD                   = tostring(var.delete_threshold)
    OPERATOR_AUTH                      = local.sign_in ? "entra" : "keys"
    ALERT_EMAIL_FROM                   = var.alert_email_from
    ALERT_EMAIL_TO                     = var.alert_email_to
    ALERT_WEBHOOK_URL                  = var.alert_webhook ? "${local.secret}ALERT-WEBHOOK-URL)" : ""
  }
}

resource "azurerm_service_plan" "main" {
  name                = "plan-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
  os_type             = "Linux"
  sku_name            = "FC1"
}

resource "azurerm_function_app_flex_consumption" "main" {
  name                = "func-${local.token}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = merge(local.tags, { "azd-service-name" = "app" })
  service_plan_id     = azurerm_service_plan.main.id

  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.main.primary_blob_endpoint}${azurerm_storage_container.package.name}"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = azurerm_user_assigned_identity.app.id
  runtime_name                      = "python"
  runtime_version                   = "3.13"

  maximum_instance_count = var.maximum_instance_count
  instance_memory_in_mb  = var.instance_memory_mb
  http_concurrency       = var.http_concurrency

  https_only                                     = true
  public_network_access_enabled                  = true
  webdeploy_publish_basic_authentication_enabled = false
  virtual_network_subnet_id                      = var.private_network ? azurerm_subnet.app[0].id : null
  app_settings                                   = merge(local.host_settings, local.sign_in_settings, local.app_settings)

  always_ready {
    name           = "http"
    instance_count = var.always_ready_instances
  }

  always_ready {
    name           = "function:users"
    instance_count = var.always_ready_instances
  }

  always_ready {
    name           = "function:groups"
    instance_count = var.always_ready_instances
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.app.id]
  }

  site_config {
    minimum_tls_version      = "1.2"
    scm_minimum_tls_version  = "1.2"
    http2_enabled            = true
    remote_debugging_enabled = false
  }

  dynamic "auth_settings_v2" {
    for_each = local.sign_in ? [var.operator_client_id] : []

    content {
      auth_enabled           = true
      require_authentication = true
      unauthenticated_action = "Return401"
      default_provider       = "azureactivedirectory"
      excluded_paths         = local.anonymous_paths
      require_https          = true

      active_directory_v2 {
        client_id                  = auth_settings_v2.value
        client_secret_setting_name = "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID"
        tenant_auth_endpoint       = "https://login.microsoftonline.com/${local.tenant_id}/v2.0"
        allowed_audiences          = ["api://${auth_settings_v2.value}", auth_settings_v2.value]
        allowed_applications       = [auth_settings_v2.value, local.azure_cli]
      }

      login {
        token_store_enabled = false
      }
    }
  }

  # The app reads its package, its queues and its secrets when it starts.
  depends_on = [
    azurerm_role_assignment.on_storage,
    azurerm_role_assignment.on_vault,
    azurerm_role_assignment.on_insights,
    azurerm_private_endpoint.main,
    azurerm_private_dns_zone_virtual_network_link.main,
    azurerm_subnet_nat_gateway_association.app,
    azurerm_nat_gateway_public_ip_association.main,
  ]
}

# azurerm has no attribute for it yet: which identity reads the vault for the app settings.
resource "azapi_update_resource" "vault_identity" {
  type        = "Microsoft.Web/sites@2024-04-01"
  resource_id = azurerm_function_app_flex_consumption.main.id
  body        = { properties = { keyVaultReferenceIdentity = azurerm_user_assigned_identity.app.id } }
}

resource "azapi_update_resource" "no_ftp" {
  type      = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01"
  name      = "ftp"
  parent_id = azurerm_function_app_flex_consumption.main.id
  body      = { properties = { allow = false } }
}
