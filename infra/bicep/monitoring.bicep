// Logs, alerts and the workbook. Alerts and workbook are data that Terraform reads too: infra/monitoring.

@description('Makes names unique.')
param token string

@description('Azure region.')
param location string

@description('Tags on every resource.')
param tags object

@description('Where the alerts go; empty sends them nowhere.')
param operatorEmail string

@description('Days that logs are kept.')
param logRetentionDays int

@description('Most gigabytes of logs a day; -1 is no limit.')
param logDailyCapGb int

@description('The storage account, for its diagnostic settings.')
param storageName string

@description('The vault, for its diagnostic settings.')
param vaultName string

@description('Log every read and write of the storage account.')
param logStorageAccess bool

var alerts = loadJsonContent('../monitoring/alerts.json').alerts
var receivers = [
  {
    name: 'operators'
    emailAddress: operatorEmail
    useCommonAlertSchema: true
  }
]
var workbookContent = loadTextContent('../monitoring/workbook.json')

resource workspace 'Microsoft.OperationalInsights/workspaces@2021-06-01' = {
  name: 'log-${token}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: logRetentionDays
    workspaceCapping: { dailyQuotaGb: logDailyCapGb }
    features: { disableLocalAuth: true, enableLogAccessUsingOnlyResourcePermissions: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
    DisableIpMasking: false
  }
}

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'provisioning'
    enabled: true
    emailReceivers: empty(operatorEmail) ? [] : receivers
  }
}

resource rule 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [
  for alert in alerts: {
    name: '${alert.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Provisioning: ${alert.title}'
      description: alert.description
      severity: alert.severity
      enabled: true
      scopes: [workspace.id]
      evaluationFrequency: alert.frequency
      windowSize: alert.window
      autoMitigate: alert.resolves
      // The tables appear with the first log line; a rule that is made before it must not be refused.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: join(alert.query, '\n')
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [operators.id] }
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'provisioning')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Provisioning to ServiceNow'
    category: 'workbook'
    sourceId: toLower(workspace.id)
    serializedData: workbookContent
  }
}

resource storage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  parent: storage
  name: 'default'
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' existing = {
  parent: storage
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' existing = {
  parent: storage
  name: 'default'
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

var storageLogs = [
  { category: 'StorageRead', enabled: logStorageAccess }
  { category: 'StorageWrite', enabled: logStorageAccess }
  { category: 'StorageDelete', enabled: logStorageAccess }
]

resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'to-workspace'
  properties: {
    workspaceId: workspace.id
    logs: storageLogs
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource queueDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: queues
  name: 'to-workspace'
  properties: {
    workspaceId: workspace.id
    logs: storageLogs
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource tableDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: tables
  name: 'to-workspace'
  properties: {
    workspaceId: workspace.id
    logs: storageLogs
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource vaultDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'to-workspace'
  properties: {
    workspaceId: workspace.id
    logs: [{ category: 'AuditEvent', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output workspaceId string = workspace.id
output insightsName string = insights.name
