"""The target: ServiceNow's Table, Batch and Aggregate APIs, trusted no further than their answers prove."""
