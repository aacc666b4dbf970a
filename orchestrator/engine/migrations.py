"""Numbered steps from one format of the tables to the next; `init` takes the missing ones, in order.

A step may be cut off and taken again: each of its statements does nothing the second time.
"""

from orchestrator.engine.schema import FLOW_TABLES, LANE_FUNCTIONS

LANE_STEPS: tuple[tuple[str, ...], ...] = (
    # 1 to 2: timers of imported history are told apart
    (
        "ALTER TABLE {lane}.timers ADD COLUMN IF NOT EXISTS history boolean NOT NULL DEFAULT false",
        "DROP INDEX IF EXISTS {lane}.timers_due",
        "CREATE INDEX IF NOT EXISTS timers_due ON {lane}.timers (history, due_ms)",
    ),
    # 2 to 3: small transactions in one round trip
    LANE_FUNCTIONS,
    # 3 to 4: how customers go through flows is counted
    FLOW_TABLES,
)
"""Step n, counted from 1, turns a lane of format n into one of format n + 1: statements, in order."""

FORMAT = 1 + len(LANE_STEPS)
"""What this release reads and writes."""
