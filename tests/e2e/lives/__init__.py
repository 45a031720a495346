"""Lives of invented people and groups, told on a tenant and an instance with the app's own process between them."""
