// What the app is and what it remembers: its identity, its storage, its secrets.
// Queues, tables and secrets are made through Azure Resource Manager, which works while the storage and the vault are closed to
// the deployer's network.

@description('Makes names unique.')
param token string

@description('Azure region.')
param location string

@description('Tags on every resource.')
param tags object

@description('Close storage and vault to the public network.')
param privateNetwork bool

@description('Lock storage and vault against deletion.')
param deletionLock bool

@secure()
@description('Secret of the OAuth application in ServiceNow; empty keeps what the vault holds.')
param servicenowClientSecret string

@secure()
@description('Password of the integration user; empty keeps what the vault holds.')
param servicenowPassword string

@secure()
@description('API key of the integration user; empty keeps what the vault holds.')
param servicenowApiKey string

@secure()
@description('Secret of the notifications; empty keeps what the vault holds.')
param notificationClientState string

@secure()
@description('The secret before it; empty keeps what the vault holds.')
param notificationClientStatePrevious string

@secure()
@description('URL of the webhook for announcements; empty keeps what the vault holds.')
param alertWebhookUrl string

var queues = [
  'user-events'
  'user-events-poison'
  'group-events'
  'group-events-poison'
  'cycle-events'
  'cycle-events-poison'
]

var tables = [
  'joins'
  'owners'
  'memberships'
  'memberindex'
  'escrows'
  'watermarks'
  'progress'
  'job'
  'references'
  'subscriptions'
  'assignments'
  'schemas'
  'guard'
  'staged'
  'poison'
  'plans'
  'log'
  'logindex'
]

var packageContainerName = 'app-package'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-${token}'
  location: location
  tags: tags
}

resource storage 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: 'st${token}'
  location: location
  tags: tags
  kind: 'StorageV2'
  // Three zones: queues and tables are the memory of the app.
  sku: { name: 'Standard_ZRS' }
  properties: {
    accessTier: 'Hot'
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'None'
    }
    encryption: {
      keySource: 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      services: {
        blob: { enabled: true, keyType: 'Account' }
        queue: { enabled: true, keyType: 'Account' }
        table: { enabled: true, keyType: 'Account' }
      }
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: storage
  name: 'default'
  properties: {
    deleteRetentionPolicy: { enabled: true, days: 14 }
    containerDeleteRetentionPolicy: { enabled: true, days: 14 }
  }
}

resource packageContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: packageContainerName
  properties: { publicAccess: 'None' }
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' = {
  parent: storage
  name: 'default'
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' = [
  for name in queues: {
    parent: queueService
    name: name
  }
]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' = {
  parent: storage
  name: 'default'
}

resource table 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' = [
  for name in tables: {
    parent: tableService
    name: name
  }
]

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: 'kv-${token}'
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'None'
    }
  }
}

resource clientSecret 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(servicenowClientSecret)) {
  parent: vault
  name: 'SERVICENOW-CLIENT-SECRET'
  properties: { value: servicenowClientSecret, contentType: 'text/plain' }
}

resource password 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(servicenowPassword)) {
  parent: vault
  name: 'SERVICENOW-PASSWORD'
  properties: { value: servicenowPassword, contentType: 'text/plain' }
}

resource apiKey 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(servicenowApiKey)) {
  parent: vault
  name: 'SERVICENOW-API-KEY'
  properties: { value: servicenowApiKey, contentType: 'text/plain' }
}

resource clientState 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(notificationClientState)) {
  parent: vault
  name: 'NOTIFICATION-CLIENT-STATE'
  properties: { value: notificationClientState, contentType: 'text/plain' }
}

resource clientStatePrevious 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(notificationClientStatePrevious)) {
  parent: vault
  name: 'NOTIFICATION-CLIENT-STATE-PREVIOUS'
  properties: { value: notificationClientStatePrevious, contentType: 'text/plain' }
}

resource webhookUrl 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = if (!empty(alertWebhookUrl)) {
  parent: vault
  name: 'ALERT-WEBHOOK-URL'
  properties: { value: alertWebhookUrl, contentType: 'text/plain' }
}

resource storageLock 'Microsoft.Authorization/locks@2016-09-01' = if (deletionLock) {
  scope: storage
  name: 'keep'
  properties: { level: 'CanNotDelete', notes: 'Links, watermarks and queues of the provisioning.' }
}

resource vaultLock 'Microsoft.Authorization/locks@2016-09-01' = if (deletionLock) {
  scope: vault
  name: 'keep'
  properties: { level: 'CanNotDelete', notes: 'Secrets of the provisioning.' }
}

output identityId string = identity.id
output identityClientId string = identity.properties.clientId
output identityPrincipalId string = identity.properties.principalId
output storageId string = storage.id
output storageName string = storage.name
output packageContainer string = packageContainerName
output vaultId string = vault.id
output vaultName string = vault.name
