#!/bin/sh
# Called by azd before it provisions: the registrations in Entra ID, and a random secret for the notifications.
# What is there already stays. Set ENTRA_SETUP=no in the azd environment when another person does the Entra side.
set -eu
cd "$(dirname "$0")/../.."

if [ "${ENTRA_SETUP:-yes}" = yes ] && { [ -z "${ENTRA_SERVICE_PRINCIPAL_ID:-}" ] || [ -z "${OPERATOR_CLIENT_ID:-}" ]; }; then
  registered=$(.venv/bin/python -m infra.entra register)
  echo "$registered" | while IFS='=' read -r name value; do
    azd env set "$name" "$value"
  done
fi

# Once only: the vault keeps it, and a new one at every deployment would make the subscriptions anew.
if [ -z "${NOTIFICATION_CLIENT_STATE:-}" ] && [ -z "${AZURE_KEY_VAULT_NAME:-}" ]; then
  azd env set NOTIFICATION_CLIENT_STATE "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
fi
