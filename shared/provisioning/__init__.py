"""The engine: import, scope, match, resolve, export; the cycles that feed it; the operator's commands.

Arrows point from here to ``graph``, ``servicenow``, ``schema`` and ``state``, and from ``functions`` to here.
"""
