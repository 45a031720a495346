// Private endpoints of the storage account and the vault, with the names by which the app finds them.

@description('Azure region.')
param location string

@description('Tags on every resource.')
param tags object

@description('The virtual network that resolves the names.')
param networkId string

@description('Subnet of the endpoints.')
param subnetId string

@description('The storage account.')
param storageId string

@description('Its name.')
param storageName string

@description('The vault.')
param vaultId string

@description('Its name.')
param vaultName string

var services = [
  { name: 'blob', target: storageId, owner: storageName, zone: 'privatelink.blob.${environment().suffixes.storage}' }
  { name: 'queue', target: storageId, owner: storageName, zone: 'privatelink.queue.${environment().suffixes.storage}' }
  { name: 'table', target: storageId, owner: storageName, zone: 'privatelink.table.${environment().suffixes.storage}' }
  { name: 'vault', target: vaultId, owner: vaultName, zone: 'privatelink.vaultcore.azure.net' }
]

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for service in services: {
    name: service.zone
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (service, index) in services: {
    parent: zone[index]
    name: 'link-${service.name}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: networkId }
    }
  }
]

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for service in services: {
    name: 'pe-${service.owner}-${service.name}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: service.name
          properties: {
            privateLinkServiceId: service.target
            groupIds: [service.name]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (service, index) in services: {
    parent: endpoint[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: service.name
          properties: { privateDnsZoneId: zone[index].id }
        }
      ]
    }
  }
]
