# The same inputs as infra/bicep/main.bicep, with the same defaults and limits.

variable "environment_name" {
  type        = string
  description = "Names the deployment and everything in it, for instance \"prod\"."
  nullable    = false

  validation {
    condition     = length(var.environment_name) >= 2 && length(var.environment_name) <= 16
    error_message = "Must have from 2 to 16 characters."
  }
}

variable "location" {
  type        = string
  description = "Azure region. It must offer Functions Flex Consumption with Python 3.13."
  nullable    = false
}

variable "resource_group_name" {
  type        = string
  description = "Resource group to create. Empty: rg-provisioning-ENVIRONMENT."
  default     = ""
  nullable    = false
}

variable "tags" {
  type        = map(string)
  description = "Tags on every resource, beside those that azd needs."
  default     = {}
  nullable    = false
}

variable "servicenow_instance_url" {
  type        = string
  description = "The ServiceNow instance, as https://NAME.service-now.com."
  nullable    = false

  validation {
    condition     = length(var.servicenow_instance_url) >= 9
    error_message = "Must have at least 9 characters."
  }
}

variable "servicenow_auth" {
  type        = string
  description = "How the app signs in to ServiceNow. OAuth client credentials need no password of a user."
  default     = "oauth_client_credentials"
  nullable    = false

  validation {
    condition     = contains(["oauth_client_credentials", "oauth_password", "basic", "api_key"], var.servicenow_auth)
    error_message = "Must be one of ['oauth_client_credentials', 'oauth_password', 'basic', 'api_key']."
  }
}

variable "servicenow_client_id" {
  type        = string
  description = "Client id of the OAuth application in ServiceNow."
  default     = ""
  nullable    = false
}

variable "servicenow_username" {
  type        = string
  description = "User name of the integration user; for oauth_password and basic."
  default     = ""
  nullable    = false
}

variable "servicenow_max_concurrency" {
  type        = number
  description = "Requests to ServiceNow in flight, all instances of the app together. A node serves 4 at a time (KB0635977)."
  default     = 4
  nullable    = false

  validation {
    condition     = var.servicenow_max_concurrency >= 1 && var.servicenow_max_concurrency <= 32
    error_message = "Must be from 1 to 32."
  }
}

variable "graph_base_url" {
  type        = string
  description = "Microsoft Graph of this cloud, with its version."
  default     = "https://graph.microsoft.com/v1.0"
  nullable    = false
}

variable "service_principal_id" {
  type        = string
  description = "Object id of the enterprise application whose assignments are the scope. Empty: the scope is everybody."
  default     = ""
  nullable    = false
}

variable "provisioning_scope" {
  type        = string
  description = "Who is provisioned. Empty: \"assigned\" with an enterprise application, else \"all\"."
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "assigned", "all"], var.provisioning_scope)
    error_message = "Must be one of ['', 'assigned', 'all']."
  }
}

variable "provisioning_schema" {
  type        = string
  description = "Path of a synchronization schema in the package that seeds the first start. Empty: the default mapping."
  default     = ""
  nullable    = false
}

variable "graph_replication_grace" {
  type        = string
  description = "Seconds that Graph replicas may lag behind a change. Empty: the default of the app, 10."
  default     = ""
  nullable    = false
}

variable "client_state_rotates" {
  type        = bool
  description = "Accept the secret before it as well: true while it rotates."
  default     = false
  nullable    = false
}

variable "notification_url" {
  type        = string
  description = "Public base URL of the webhook, if a gateway stands before the app. Empty: the host name of the app."
  default     = ""
  nullable    = false
}

variable "cycle_schedule" {
  type        = string
  description = "NCRONTAB, UTC: when a cycle starts."
  default     = "0 */5 * * * *"
  nullable    = false
}

variable "subscription_schedule" {
  type        = string
  description = "NCRONTAB, UTC: when the subscriptions are looked after."
  default     = "0 0 * * * *"
  nullable    = false
}

variable "verify_schedule" {
  type        = string
  description = "NCRONTAB, UTC: when ServiceNow is compared with Entra ID."
  default     = "0 0 2 * * *"
  nullable    = false
}

variable "delete_threshold" {
  type        = number
  description = "Disables and deletes let through in 24 hours before further ones are held."
  default     = 500
  nullable    = false

  validation {
    condition     = var.delete_threshold >= 0
    error_message = "Must be at least 0."
  }
}

variable "operator_client_id" {
  type        = string
  description = "Client id of the app registration that operators sign in to (python -m infra.entra makes it). Empty: function keys."
  default     = ""
  nullable    = false
}

variable "alert_email_from" {
  type        = string
  description = "Mailbox that the app announces from; needs Mail.Send. Set it together with alertEmailTo, or leave both empty."
  default     = ""
  nullable    = false
}

variable "alert_email_to" {
  type        = string
  description = "Whom the app announces quarantine, held deletes and failures to."
  default     = ""
  nullable    = false
}

variable "alert_webhook" {
  type        = bool
  description = "Announce to a webhook as well: its URL is the secret ALERT-WEBHOOK-URL of the vault."
  default     = false
  nullable    = false
}

variable "operator_email" {
  type        = string
  description = "Where Azure Monitor sends the alerts. Empty: they fire, and nobody is told."
  default     = ""
  nullable    = false
}

variable "private_network" {
  type        = bool
  description = "Virtual network with private endpoints for storage and vault, and one fixed outbound address. The webhook stays public."
  default     = true
  nullable    = false
}

variable "address_prefix" {
  type        = string
  description = "Address space of the virtual network, at least a /24."
  default     = "10.60.0.0/24"
  nullable    = false
}

variable "always_ready_instances" {
  type        = number
  description = "Instances kept ready for HTTP, for users and for groups each. 0 saves money and costs seconds on the first change."
  default     = 1
  nullable    = false

  validation {
    condition     = var.always_ready_instances >= 0 && var.always_ready_instances <= 10
    error_message = "Must be from 0 to 10."
  }
}

variable "maximum_instance_count" {
  type        = number
  description = "Most instances of the app. ServiceNow is protected by servicenowMaxConcurrency, not by this."
  default     = 40
  nullable    = false

  validation {
    condition     = var.maximum_instance_count >= 40 && var.maximum_instance_count <= 1000
    error_message = "Must be from 40 to 1000."
  }
}

variable "instance_memory_mb" {
  type        = number
  description = "Memory of an instance, in MB."
  default     = 2048
  nullable    = false

  validation {
    condition     = contains([512, 2048, 4096], var.instance_memory_mb)
    error_message = "Must be one of [512, 2048, 4096]."
  }
}

variable "http_concurrency" {
  type        = number
  description = "HTTP requests that one instance takes at a time."
  default     = 32
  nullable    = false

  validation {
    condition     = var.http_concurrency >= 1 && var.http_concurrency <= 1000
    error_message = "Must be from 1 to 1000."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days that logs are kept."
  default     = 30
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730
    error_message = "Must be from 30 to 730."
  }
}

variable "log_daily_cap_gb" {
  type        = number
  description = "Most gigabytes of logs a day; beyond it the alerts are blind until midnight. -1: no limit."
  default     = 5
  nullable    = false
}

variable "log_storage_access" {
  type        = bool
  description = "Log every read and write of the storage account as well. Polling the queues alone makes hundreds of thousands of lines a day."
  default     = false
  nullable    = false
}

variable "deletion_lock" {
  type        = bool
  description = "A lock against deleting the storage account and the vault. azd down needs it removed first."
  default     = true
  nullable    = false
}
