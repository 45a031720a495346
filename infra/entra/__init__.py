"""The Entra side of a deployment: registrations, permissions, operators. ``python -m infra.entra --help``."""
