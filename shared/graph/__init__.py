"""The source: Microsoft Graph as this app reads it.

    client          one signed, logged, error-mapped way to send a request
    batch           many reads in one round trip
    delta           one page of what changed
    objects         what an object is now: present, soft-deleted, missing; its relations
    assignments     who is assigned to the enterprise application
    subscriptions   where Graph sends its change notifications
    notifications   what Graph sent (pure parsing)

The SDK (msgraph-sdk, azure-identity) is imported at the first request, not with these modules: cold start.
"""
