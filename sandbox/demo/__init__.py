"""The demonstration: a directory arrives in ServiceNow, and then its changes follow within seconds.

``python -m sandbox.demo`` starts storage, tenant, instance and host as processes of their own and plays its acts through their
public doors: Graph's write API, the app's operator routes, and the instance's commit log.
"""
