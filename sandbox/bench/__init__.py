"""How fast the app is, measured on the sandbox beside a plain baseline: ``python -m sandbox.bench``.

Real processes throughout: Azurite, the tenant, the instance and the Functions host each run on their own. Nothing is asserted
about speed; the table says what was measured, with what sizes, and what is aimed at.
"""
