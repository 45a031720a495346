"""The local ServiceNow instance over https, which PySNC demands: ``python -m sandbox.bench.https_instance --pem FILE``."""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
from pathlib import Path

from sandbox.instance import InstanceServer, add_arguments, config_from


async def serve(args: argparse.Namespace) -> None:
    """Serve until standard input ends, as it does when the parent does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.pem)
    async with InstanceServer(config_from(args), args.port, ssl_context=context):
        ended = asyncio.Event()

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 1024):
                ended.set()

        asyncio.get_running_loop().add_reader(sys.stdin, read)
        await ended.wait()


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pem", type=Path, required=True, help="certificate and key")
    add_arguments(parser)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
