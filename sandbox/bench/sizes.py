"""How much of everything a run measures."""

from __future__ import annotations

from dataclasses import dataclass

#: What the instance needs for a query, for a write, and for a write on a slow instance, in seconds; and its slots.
QUERY_SECONDS = 0.05
WRITE_SECONDS = 0.08
SLOW_WRITE_SECONDS = 0.6
SLOTS = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """Users of the first cycle and of the slow one, users of each baseline, live changes, members, POSTs and their items.

    ``quiet_changes`` are changes that wait until the queues are empty, which takes each of them a replica's grace of 10 s.
    """

    users: int = 5000
    baseline_users: int = 1000
    baseline_again: int = 200
    slow_users: int = 300
    slow_baseline_users: int = 150
    changes: int = 200
    quiet_changes: int = 5
    members: int = 5000
    posts: int = 20
    notifications: int = 1000
    starts: int = 3


QUICK = Sizes(
    users=60,
    baseline_users=24,
    baseline_again=8,
    slow_users=20,
    slow_baseline_users=8,
    changes=5,
    quiet_changes=1,
    members=60,
    posts=2,
    starts=1,
)
