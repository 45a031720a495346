"""A local Entra tenant, a local ServiceNow instance and a local Functions host, to run and rehearse everything on one machine."""
