#!/bin/sh
# Called by azd after it provisioned: permissions for the app's identity. The secrets are in the vault now and leave the
# environment of azd, which is a plain file.
set -eu
cd "$(dirname "$0")/../.."

if [ "${ENTRA_SETUP:-yes}" = yes ]; then
  .venv/bin/python -m infra.entra grant "$IDENTITY_PRINCIPAL_ID" --url "$SERVICE_APP_URL"
else
  echo "Left out: python -m infra.entra grant $IDENTITY_PRINCIPAL_ID --url $SERVICE_APP_URL (by a Privileged Role Administrator)"
fi

for name in SERVICENOW_CLIENT_SECRET SERVICENOW_PASSWORD SERVICENOW_API_KEY NOTIFICATION_CLIENT_STATE; do
  eval "value=\${$name:-}"
  if [ -n "$value" ]; then
    azd env set "$name" ""
  fi
done
