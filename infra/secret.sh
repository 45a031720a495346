#!/bin/sh
# Write one secret of the app into its vault, through Azure Resource Manager: works while the vault is closed to this network.
#
#   infra/secret.sh RESOURCE_GROUP VAULT NAME            reads the value from standard input (or asks for it)
#   infra/secret.sh RESOURCE_GROUP VAULT NAME --random   makes a random one of 64 characters
#
# NAME: SERVICENOW-CLIENT-SECRET, SERVICENOW-PASSWORD, SERVICENOW-API-KEY, NOTIFICATION-CLIENT-STATE,
#       NOTIFICATION-CLIENT-STATE-PREVIOUS, ALERT-WEBHOOK-URL
# Needs az, signed in with the right Microsoft.KeyVault/vaults/secrets/write (Contributor has it). The value never stands in an
# argument, in the environment or on the screen.
set -eu

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ $# -ge 3 ] && [ $# -le 4 ] || usage
group=$1 vault=$2 name=$3
case $name in
  SERVICENOW-CLIENT-SECRET | SERVICENOW-PASSWORD | SERVICENOW-API-KEY) ;;
  NOTIFICATION-CLIENT-STATE | NOTIFICATION-CLIENT-STATE-PREVIOUS | ALERT-WEBHOOK-URL) ;;
  *) usage ;;
esac

if [ "${4:-}" = --random ]; then
  value=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
elif [ $# -eq 4 ]; then
  usage
elif [ -t 0 ]; then
  printf '%s: ' "$name" >&2
  trap 'stty echo' EXIT INT TERM
  stty -echo
  IFS= read -r value
  stty echo
  trap - EXIT INT TERM
  printf '\n' >&2
else
  IFS= read -r value || [ -n "$value" ]
fi
[ -n "$value" ] || { echo "The value is empty: nothing was written." >&2; exit 1; }

subscription=$(az account show --query id --output tsv)
umask 077
body=$(mktemp)
trap 'rm -f "$body"' EXIT INT TERM
# JSON by hand: the value goes from one process to the next without an argument list.
printf '%s' "$value" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e '1s/^/{"properties":{"value":"/' -e '$s/$/"}}/' >"$body"
az rest --method put --output none --body "@$body" \
  --url "https://management.azure.com/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.KeyVault/vaults/$vault/secrets/$name?api-version=2023-07-01"
echo "$name is written to $vault. Restart the app, so that it reads it now."
