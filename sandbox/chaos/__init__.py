"""A campaign of seeded histories: whatever happens on the way, everything must end right.

``python -m sandbox.chaos --seeds N`` lets people and groups of a local tenant change while three Functions hosts provision them,
and while hosts are killed and stopped, notifications are lost, both services misbehave and storage fails. Then all of that
stops, and both sides must agree.
"""
