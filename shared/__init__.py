"""The application's code: the provisioning engine and the clients, schema and state that it stands on."""
