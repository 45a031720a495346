"""What maps to what: synchronization schema, expression language, scoping filters, and the view of a Graph object.

Pure: nothing here reaches a network, a clock or a disk (packaged data apart). Start with ``mapping.compile_mappings``.
"""
