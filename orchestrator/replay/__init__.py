"""Everything rebuilt from the log alone: to compare it with what is live, or to write the read models anew."""

from orchestrator.replay.report import Difference, ReplayProgress, Report
from orchestrator.replay.run import replay

__all__ = ["Difference", "ReplayProgress", "Report", "replay"]
