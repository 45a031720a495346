"""ServiceNow's own Python client works against the instance, over https as it demands."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pysnc import ServiceNowClient
from pysnc.exceptions import AuthenticationException, RoleException

from sandbox.instance import InstanceServer

if TYPE_CHECKING:
    from pathlib import Path


def certificate(directory: Path) -> Path:
    """Write a certificate and key for 127.0.0.1 and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = directory / "instance.pem"
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + secret)
    return file


def use(url: str, pem: str) -> dict[str, Any]:
    """Create, read, update, page, batch and delete through PySNC, and return what was seen."""
    client = ServiceNowClient(url, ("admin", "admin"), verify=pem)
    seen: dict[str, Any] = {}
    department = client.GlideRecord("cmn_department")
    department.initialize()
    department.name = "Research"
    department_id = department.insert()
    for number in range(250):
        user = client.GlideRecord("sys_user")
        user.initialize()
        user.user_name = f"user{number:03}"
        user.department = department_id
        user.insert()
    one = client.GlideRecord("sys_user")
    seen["get"] = one.get("user_name", "user007")
    seen["department"] = one.get_display_value("department")
    one.title = "Agent"
    one.update()
    again = client.GlideRecord("sys_user")
    again.get(one.sys_id)
    seen["title"] = again.get_value("title")
    seen["missing"] = client.GlideRecord("sys_user").get("0" * 32)
    everybody = client.GlideRecord("sys_user", batch_size=100)
    everybody.add_query("user_name", "STARTSWITH", "user")
    everybody.query()
    seen["count"] = everybody.get_row_count()
    seen["paged"] = len({record.sys_id for record in everybody})
    some = client.GlideRecord("sys_user")
    some.add_query("user_name", "IN", ",".join(f"user{number:03}" for number in range(2000)))
    some.query()
    seen["by_batch"] = some.get_row_count()
    changed = client.GlideRecord("sys_user")
    changed.add_query("user_name", "STARTSWITH", "user00")
    changed.query()
    for record in changed:
        record.city = "Oslo"
    changed.update_multiple()
    oslo = client.GlideRecord("sys_user")
    oslo.add_query("city", "Oslo")
    oslo.query()
    seen["oslo"] = oslo.get_row_count()
    seen["deleted"] = oslo.delete_multiple()
    oslo.query()
    seen["left"] = oslo.get_row_count()
    twin = client.GlideRecord("sys_user")
    twin.initialize()
    twin.user_name = "user100"
    with pytest.raises(RoleException):
        twin.insert()
    stranger = ServiceNowClient(url, ("admin", "wrong"), verify=pem)
    with pytest.raises(AuthenticationException):
        stranger.GlideRecord("sys_user").get("1" * 32)
    for used in (client, stranger):
        used.session.close()
    return seen


async def test_pysnc_creates_pages_updates_and_deletes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)  # requests prefers them to the certificate that PySNC is given
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with InstanceServer(ssl_context=context) as server:
        seen = await asyncio.to_thread(use, server.url, str(pem))
    assert seen == {
        "get": True,
        "department": "Research",
        "title": "Agent",
        "missing": False,
        "count": 250,
        "paged": 250,
        "by_batch": 250,
        "oslo": 10,
        "deleted": True,
        "left": 0,
    }
