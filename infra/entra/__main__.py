"""``python -m infra.entra register | grant | operator``: set up Entra ID, and say what was done.

Signs in as whoever is signed in to Azure CLI or azd. ``register`` needs the role Application Administrator, ``grant`` the role
Privileged Role Administrator (source: Microsoft Graph docs, permissions of application: create and appRoleAssignment: create).
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from infra.entra.directory import Directory, DirectoryFault
from infra.entra.setting_up import SettingUp

DEFAULT_NAME = "ServiceNow provisioning"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.entra", description="Set up Entra ID for the provisioning app.")
    parser.add_argument("--name", default=DEFAULT_NAME, help="name of the registrations (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("register", help="make the registrations; prints what the infrastructure needs, as NAME=VALUE")
    grant = commands.add_parser("grant", help="give the app's identity its permissions")
    grant.add_argument("identity", metavar="OBJECT_ID", help="object id of the managed identity (output IDENTITY_PRINCIPAL_ID)")
    grant.add_argument("--mail", action="store_true", help="Mail.Send too: only when the app announces by mail")
    grant.add_argument("--url", default="", help="URL of the app (output SERVICE_APP_URL), for sign-in with a browser")
    operator = commands.add_parser("operator", help="let somebody command the app")
    operator.add_argument("user", help="user principal name or object id")
    return parser


async def run(options: argparse.Namespace) -> int:
    from azure.identity.aio import AzureCliCredential, AzureDeveloperCliCredential, ChainedTokenCredential

    signed_in = ChainedTokenCredential(AzureCliCredential(), AzureDeveloperCliCredential())
    async with signed_in as credential, Directory(credential) as directory:
        setting_up = SettingUp(directory, lambda line: print(line, file=sys.stderr))
        match options.command:
            case "register":
                registered = await setting_up.register(options.name)
                print(f"ENTRA_SERVICE_PRINCIPAL_ID={registered.service_principal_id}")
                print(f"OPERATOR_CLIENT_ID={registered.operator_client_id}")
            case "grant":
                await setting_up.grant(options.identity, options.name, mail=options.mail, url=options.url)
            case _:
                await setting_up.operator(options.user, options.name)
    return 0


def main() -> int:
    """0, or 1 with the reason on stderr."""
    from azure.core.exceptions import ClientAuthenticationError

    try:
        return asyncio.run(run(arguments().parse_args()))
    except DirectoryFault as fault:
        print(fault, file=sys.stderr)
    except ClientAuthenticationError as error:
        print(f"not signed in: run az login or azd auth login ({error.message.splitlines()[0]})", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
