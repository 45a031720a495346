"""Microsoft's own client against the tenant: what it sends and what it makes of the answers."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.tenant import TenantConfig

if TYPE_CHECKING:
    from .conftest import Serve
    from .support import Webhook


# The SDK's own modules use what the SDK has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_sdk_reads_delta_writes_members_and_subscribes(serve: Serve, webhook: Webhook) -> None:
    from kiota_abstractions.authentication import AnonymousAuthenticationProvider
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.models.reference_create import ReferenceCreate
    from msgraph.generated.models.subscription import Subscription
    from msgraph.generated.users.delta.delta_request_builder import DeltaRequestBuilder
    from msgraph.graph_request_adapter import GraphRequestAdapter
    from msgraph.graph_service_client import GraphServiceClient

    server, _ = await serve(TenantConfig(users=5, user_delta_page=3))
    async with httpx.AsyncClient(headers={"Authorization": "Bearer test"}) as http:
        adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), http)
        adapter.base_url = server.url
        graph = GraphServiceClient(request_adapter=adapter)

        query = DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(select=["displayName", "manager"])
        page = await graph.users.delta.get(RequestConfiguration(query_parameters=query))
        assert page is not None
        assert page.value is not None
        assert page.odata_next_link is not None
        assert len(page.value) == 3
        assert "manager@delta" in page.value[1].additional_data
        last = await graph.users.delta.with_url(page.odata_next_link).get()
        assert last is not None
        assert last.odata_delta_link is not None

        ann = server.tenant.create_user(userPrincipalName="ann@contoso.com")
        group = server.tenant.create_group("G")
        reference = ReferenceCreate(odata_id=f"{server.url}/directoryObjects/{ann}")
        await graph.groups.by_group_id(group).members.ref.post(reference)
        members = await graph.groups.by_group_id(group).members.get()
        assert members is not None
        assert [member.id for member in members.value or []] == [ann]

        wanted = Subscription(
            change_type="updated,deleted",
            notification_url=f"{webhook.url}/notifications",
            resource="/users",
            client_state="secret",
            expiration_date_time=dt.datetime.now(dt.UTC) + dt.timedelta(days=2),
        )
        made = await graph.subscriptions.post(wanted)
        assert made is not None
        assert made.id is not None
        assert made.client_state is None
        renewal = Subscription(expiration_date_time=dt.datetime.now(dt.UTC) + dt.timedelta(days=20))
        renewed = await graph.subscriptions.by_subscription_id(made.id).patch(renewal)
        assert renewed is not None
        assert renewed.expiration_date_time is not None
        assert made.expiration_date_time is not None
        assert renewed.expiration_date_time > made.expiration_date_time
