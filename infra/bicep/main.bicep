// Provisioning from Microsoft Entra ID to ServiceNow: everything in Azure that the app needs, in one resource group.
//
//   az deployment sub create --location westeurope --template-file infra/bicep/main.bicep --parameters ...
//   azd up
//
// Raw resources only, so that a reviewer sees every property. infra/terraform declares the same architecture.
targetScope = 'subscription'

@description('Names the deployment and everything in it, for instance "prod".')
@minLength(2)
@maxLength(16)
param environmentName string

@description('Azure region. It must offer Functions Flex Consumption with Python 3.13.')
param location string

@description('Resource group to create. Empty: rg-provisioning-ENVIRONMENT.')
param resourceGroupName string = ''

@description('Tags on every resource, beside those that azd needs.')
param tags object = {}

@description('The ServiceNow instance, as https://NAME.service-now.com.')
@minLength(9)
param servicenowInstanceUrl string

@description('How the app signs in to ServiceNow. OAuth client credentials need no password of a user.')
@allowed(['oauth_client_credentials', 'oauth_password', 'basic', 'api_key'])
param servicenowAuth string = 'oauth_client_credentials'

@description('Client id of the OAuth application in ServiceNow.')
param servicenowClientId string = ''

@description('User name of the integration user; for oauth_password and basic.')
param servicenowUsername string = ''

@description('Secret of the OAuth application. Empty: what the vault holds stays.')
@secure()
param servicenowClientSecret string = ''

@description('Password of the integration user. Empty: what the vault holds stays.')
@secure()
param servicenowPassword string = ''

@description('API key of the integration user. Empty: what the vault holds stays.')
@secure()
param servicenowApiKey string = ''

@description('Requests to ServiceNow in flight, all instances of the app together. A node serves 4 at a time (KB0635977).')
@minValue(1)
@maxValue(32)
param servicenowMaxConcurrency int = 4

@description('Microsoft Graph of this cloud, with its version.')
param graphBaseUrl string = 'https://graph.microsoft.com/v1.0'

@description('Object id of the enterprise application whose assignments are the scope. Empty: the scope is everybody.')
param servicePrincipalId string = ''

@description('Who is provisioned. Empty: "assigned" with an enterprise application, else "all".')
@allowed(['', 'assigned', 'all'])
param provisioningScope string = ''

@description('Path of a synchronization schema in the package that seeds the first start. Empty: the default mapping.')
param provisioningSchema string = ''

@description('Seconds that Graph replicas may lag behind a change. Empty: the default of the app, 10.')
param graphReplicationGrace string = ''

@description('Random secret of up to 128 characters that every notification of Graph must carry. Empty: what the vault holds stays.')
@secure()
@maxLength(128)
param notificationClientState string = ''

@description('The secret before it. Only while it rotates.')
@secure()
@maxLength(128)
param notificationClientStatePrevious string = ''

@description('Accept the secret before it as well: true while it rotates.')
param clientStateRotates bool = false

@description('Public base URL of the webhook, if a gateway stands before the app. Empty: the host name of the app.')
param notificationUrl string = ''

@description('NCRONTAB, UTC: when a cycle starts.')
param cycleSchedule string = '0 */5 * * * *'

@description('NCRONTAB, UTC: when the subscriptions are looked after.')
param subscriptionSchedule string = '0 0 * * * *'

@description('NCRONTAB, UTC: when ServiceNow is compared with Entra ID.')
param verifySchedule string = '0 0 2 * * *'

@description('Disables and deletes let through in 24 hours before further ones are held.')
@minValue(0)
param deleteThreshold int = 500

@description('Client id of the app registration that operators sign in to (python -m infra.entra makes it). Empty: function keys.')
param operatorClientId string = ''

@description('Mailbox that the app announces from; needs Mail.Send. Set it together with alertEmailTo, or leave both empty.')
param alertEmailFrom string = ''

@description('Whom the app announces quarantine, held deletes and failures to.')
param alertEmailTo string = ''

@description('Announce to a webhook as well: its URL is the secret ALERT-WEBHOOK-URL of the vault.')
param alertWebhook bool = false

@description('URL of that webhook. Empty: what the vault holds stays.')
@secure()
param alertWebhookUrl string = ''

@description('Where Azure Monitor sends the alerts. Empty: they fire, and nobody is told.')
param operatorEmail string = ''

@description('Virtual network with private endpoints for storage and vault, and one fixed outbound address. The webhook stays public.')
param privateNetwork bool = true

@description('Address space of the virtual network, at least a /24.')
param addressPrefix string = '10.60.0.0/24'

@description('Instances kept ready for HTTP, for users and for groups each. 0 saves money and costs seconds on the first change.')
@minValue(0)
@maxValue(10)
param alwaysReadyInstances int = 1

@description('Most instances of the app. ServiceNow is protected by servicenowMaxConcurrency, not by this.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Memory of an instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('HTTP requests that one instance takes at a time.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 32

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Most gigabytes of logs a day; beyond it the alerts are blind until midnight. -1: no limit.')
param logDailyCapGb int = 5

@description('Log every read and write of the storage account as well. Polling the queues alone makes hundreds of thousands of lines a day.')
param logStorageAccess bool = false

@description('A lock against deleting the storage account and the vault. azd down needs it removed first.')
param deletionLock bool = true

var token = toLower(uniqueString(subscription().id, environmentName, location))
var allTags = union(tags, { 'azd-env-name': environmentName, application: 'entra-servicenow-provisioning' })

resource group 'Microsoft.Resources/resourceGroups@2022-09-01' = {
  name: empty(resourceGroupName) ? 'rg-provisioning-${environmentName}' : resourceGroupName
  location: location
  tags: allTags
}

module network 'network.bicep' = if (privateNetwork) {
  scope: group
  name: 'network'
  params: {
    token: token
    location: location
    tags: allTags
    addressPrefix: addressPrefix
  }
}

module state 'state.bicep' = {
  scope: group
  name: 'state'
  params: {
    token: token
    location: location
    tags: allTags
    privateNetwork: privateNetwork
    deletionLock: deletionLock
    servicenowClientSecret: servicenowClientSecret
    servicenowPassword: servicenowPassword
    servicenowApiKey: servicenowApiKey
    notificationClientState: notificationClientState
    notificationClientStatePrevious: notificationClientStatePrevious
    alertWebhookUrl: alertWebhookUrl
  }
}

module endpoints 'endpoints.bicep' = if (privateNetwork) {
  scope: group
  name: 'endpoints'
  params: {
    location: location
    tags: allTags
    networkId: network!.outputs.networkId
    subnetId: network!.outputs.endpointSubnetId
    storageId: state.outputs.storageId
    storageName: state.outputs.storageName
    vaultId: state.outputs.vaultId
    vaultName: state.outputs.vaultName
  }
}

module monitoring 'monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    token: token
    location: location
    tags: allTags
    operatorEmail: operatorEmail
    logRetentionDays: logRetentionDays
    logDailyCapGb: logDailyCapGb
    storageName: state.outputs.storageName
    vaultName: state.outputs.vaultName
    logStorageAccess: logStorageAccess
  }
}

module roles 'roles.bicep' = {
  scope: group
  name: 'roles'
  params: {
    principalId: state.outputs.identityPrincipalId
    storageName: state.outputs.storageName
    vaultName: state.outputs.vaultName
    insightsName: monitoring.outputs.insightsName
  }
}

module app 'app.bicep' = {
  scope: group
  name: 'app'
  // The app reads its package, its queues and its secrets when it starts: the roles and the private endpoints come first.
  dependsOn: [roles, endpoints]
  params: {
    token: token
    location: location
    tags: allTags
    identityId: state.outputs.identityId
    identityClientId: state.outputs.identityClientId
    storageName: state.outputs.storageName
    packageContainer: state.outputs.packageContainer
    vaultName: state.outputs.vaultName
    insightsName: monitoring.outputs.insightsName
    workspaceId: monitoring.outputs.workspaceId
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    httpConcurrency: httpConcurrency
    servicenowInstanceUrl: servicenowInstanceUrl
    servicenowAuth: servicenowAuth
    servicenowClientId: servicenowClientId
    servicenowUsername: servicenowUsername
    servicenowMaxConcurrency: servicenowMaxConcurrency
    graphBaseUrl: graphBaseUrl
    graphReplicationGrace: graphReplicationGrace
    servicePrincipalId: servicePrincipalId
    provisioningScope: provisioningScope
    provisioningSchema: provisioningSchema
    clientStateRotates: clientStateRotates
    notificationUrl: notificationUrl
    cycleSchedule: cycleSchedule
    subscriptionSchedule: subscriptionSchedule
    verifySchedule: verifySchedule
    deleteThreshold: deleteThreshold
    operatorClientId: operatorClientId
    alertEmailFrom: alertEmailFrom
    alertEmailTo: alertEmailTo
    alertWebhook: alertWebhook
  }
}

@description('Resource group of the deployment.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Name of the function app.')
output AZURE_FUNCTION_NAME string = app.outputs.name

@description('Base URL of the app.')
output SERVICE_APP_URL string = app.outputs.url

@description('Object id of the managed identity of the app: it gets the Graph permissions (python -m infra.entra grant).')
output IDENTITY_PRINCIPAL_ID string = state.outputs.identityPrincipalId

@description('The vault that holds the secrets.')
output AZURE_KEY_VAULT_NAME string = state.outputs.vaultName

@description('The one address that the app calls ServiceNow from; empty without a virtual network.')
output OUTBOUND_ADDRESS string = privateNetwork ? network!.outputs.outboundAddress : ''
