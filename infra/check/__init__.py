"""What is wrong with the infrastructure, found without Azure: ``python -m infra.check``.

Nothing here is a compiler. Both languages are parsed by real parsers; names are compared with lists that the vendors publish;
settings, queues, tables, roles, limits and log lines are compared with the code of the app.
"""
