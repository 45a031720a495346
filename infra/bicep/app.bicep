// The function app: plan, site, settings, sign-in.

@description('Makes names unique.')
param token string

@description('Azure region.')
param location string

@description('Tags on every resource.')
param tags object

@description('Resource id of the identity of the app.')
param identityId string

@description('Its client id.')
param identityClientId string

@description('The storage account.')
param storageName string

@description('Container of the deployment package.')
param packageContainer string

@description('The vault.')
param vaultName string

@description('Application Insights.')
param insightsName string

@description('The workspace that platform logs go to.')
param workspaceId string

@description('Subnet of the app; empty without a virtual network.')
param subnetId string

@description('Instances kept ready for HTTP, users and groups each.')
param alwaysReadyInstances int

@description('Most instances.')
param maximumInstanceCount int

@description('Memory of an instance, in MB.')
param instanceMemoryMB int

@description('HTTP requests that one instance takes at a time.')
param httpConcurrency int

@description('The ServiceNow instance.')
param servicenowInstanceUrl string

@description('How the app signs in there.')
param servicenowAuth string

@description('Client id of the OAuth application.')
param servicenowClientId string

@description('User name of the integration user.')
param servicenowUsername string

@description('Requests to ServiceNow in flight.')
param servicenowMaxConcurrency int

@description('Microsoft Graph of this cloud.')
param graphBaseUrl string

@description('Seconds that replicas of Graph may lag.')
param graphReplicationGrace string

@description('The enterprise application whose assignments are the scope.')
param servicePrincipalId string

@description('Who is provisioned.')
param provisioningScope string

@description('Schema that seeds the first start.')
param provisioningSchema string

@description('Accept the previous secret of the notifications too.')
param clientStateRotates bool

@description('Public base URL of the webhook.')
param notificationUrl string

@description('When a cycle starts.')
param cycleSchedule string

@description('When the subscriptions are looked after.')
param subscriptionSchedule string

@description('When ServiceNow is compared.')
param verifySchedule string

@description('Disables and deletes let through in 24 hours.')
param deleteThreshold int

@description('App registration that operators sign in to; empty: function keys.')
param operatorClientId string

@description('Mailbox that the app announces from.')
param alertEmailFrom string

@description('Whom it announces to.')
param alertEmailTo string

@description('Announce to a webhook as well.')
param alertWebhook bool

var signIn = !empty(operatorClientId)
// Graph proves itself by clientState, and monitors need no permission to see whether the app is well.
var anonymousPaths = ['/api/notifications', '/api/lifecycle', '/api/health']
// Azure CLI, so that an operator can get a token without another registration.
var azureCli = '04b07795-8ddb-461a-bbee-02f9e1bf7b46'
var usesClientSecret = contains(['oauth_client_credentials', 'oauth_password'], servicenowAuth)
var usesPassword = contains(['oauth_password', 'basic'], servicenowAuth)
var secret = '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/'

var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
  AZURE_CLIENT_ID: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
}

// Sign-in without a secret: the identity of the app vouches for the registration (a federated credential).
var withSignIn = {
  OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId
  WEBSITE_AUTH_AAD_ALLOWED_TENANTS: subscription().tenantId
}
var signInSettings = signIn ? withSignIn : {}

var appSettings = {
  GRAPH_BASE_URL: graphBaseUrl
  GRAPH_REPLICATION_GRACE: graphReplicationGrace
  ENTRA_SERVICE_PRINCIPAL_ID: servicePrincipalId
  PROVISIONING_SCOPE: provisioningScope
  PROVISIONING_SCHEMA: provisioningSchema
  SERVICENOW_INSTANCE_URL: servicenowInstanceUrl
  SERVICENOW_AUTH: servicenowAuth
  SERVICENOW_USERNAME: servicenowUsername
  SERVICENOW_PASSWORD: usesPassword ? '${secret}SERVICENOW-PASSWORD)' : ''
  SERVICENOW_CLIENT_ID: servicenowClientId
  SERVICENOW_CLIENT_SECRET: usesClientSecret ? '${secret}SERVICENOW-CLIENT-SECRET)' : ''
  SERVICENOW_API_KEY: servicenowAuth == 'api_key' ? '${secret}SERVICENOW-API-KEY)' : ''
  SERVICENOW_MAX_CONCURRENCY: string(servicenowMaxConcurrency)
  NOTIFICATION_URL: notificationUrl
  NOTIFICATION_CLIENT_STATE: '${secret}NOTIFICATION-CLIENT-STATE)'
  NOTIFICATION_CLIENT_STATE_PREVIOUS: clientStateRotates ? '${secret}NOTIFICATION-CLIENT-STATE-PREVIOUS)' : ''
  CYCLE_SCHEDULE: cycleSchedule
  SUBSCRIPTION_SCHEDULE: subscriptionSchedule
  VERIFY_SCHEDULE: verifySchedule
  DELETE_THRESHOLD: string(deleteThreshold)
  OPERATOR_AUTH: signIn ? 'entra' : 'keys'
  ALERT_EMAIL_FROM: alertEmailFrom
  ALERT_EMAIL_TO: alertEmailTo
  ALERT_WEBHOOK_URL: alertWebhook ? '${secret}ALERT-WEBHOOK-URL)' : ''
}

resource storage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageName
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource site 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      remoteDebuggingEnabled: false
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: instanceMemoryMB
        alwaysReady: [
          { name: 'http', instanceCount: alwaysReadyInstances }
          { name: 'function:users', instanceCount: alwaysReadyInstances }
          { name: 'function:groups', instanceCount: alwaysReadyInstances }
        ]
        triggers: { http: { perInstanceConcurrency: httpConcurrency } }
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: site
  name: 'appsettings'
  properties: union(hostSettings, signInSettings, appSettings)
}

resource authentication 'Microsoft.Web/sites/config@2024-04-01' = if (signIn) {
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
      excludedPaths: anonymousPaths
    }
    httpSettings: { requireHttps: true }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: operatorClientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
          openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: ['api://${operatorClientId}', operatorClientId]
          defaultAuthorizationPolicy: { allowedApplications: [operatorClientId, azureCli] }
        }
      }
    }
    login: { tokenStore: { enabled: false } }
  }
  dependsOn: [settings]
}

resource noFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: site
  name: 'ftp'
  properties: { allow: false }
}

resource noBasicScm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: site
  name: 'scm'
  properties: { allow: false }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: site
  name: 'to-workspace'
  properties: {
    workspaceId: workspaceId
    // What the functions log is in Application Insights already; here it would be paid for twice.
    logs: [{ category: 'AppServiceAuthenticationLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output name string = site.name
output url string = 'https://${site.properties.defaultHostName}'
