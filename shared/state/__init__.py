"""What survives a restart: queues and tables of the host's storage account, each store with one subject."""
