"""How customers go through flows: counts by definition, version and day of entry, kept by a follower of each lane.

`counting` says what one event adds, `follower` writes it once, `reading` and `report` add the lanes up, `recount` counts
a whole log again.
"""

from projections.flow_analytics.follower import NAME, FlowAnalytics

__all__ = ["NAME", "FlowAnalytics"]
