"""The words of an experience: stages, requirements, actions. They are the contract with every page and SDK."""

from typing import Final

NOT_STARTED: Final = "not_started"
ENTERING: Final = "entering"
NEEDS_AUTH: Final = "needs_auth"
NEEDS_ACCESS_CODE: Final = "needs_access_code"
ROUTING: Final = "routing"
ROUTED: Final = "routed"
JOURNEY_STAGES: Final = (NOT_STARTED, ENTERING, NEEDS_AUTH, NEEDS_ACCESS_CODE, ROUTING, ROUTED)

NONE: Final = "none"
UPCOMING: Final = "upcoming"
WAITLIST_ENTERED: Final = "waitlist_entered"
ENTERABLE: Final = "active_enterable"
PARTICIPATING: Final = "participating"
ADMITTED: Final = "admitted"
ADMISSION_EXPIRED: Final = "admission_expired"
ENDED: Final = "ended"
SEQUENCE_STAGES: Final = (
    NONE,
    UPCOMING,
    WAITLIST_ENTERED,
    ENTERABLE,
    PARTICIPATING,
    ADMITTED,
    ADMISSION_EXPIRED,
    ENDED,
)
ENGAGED: Final = frozenset({WAITLIST_ENTERED, PARTICIPATING, ADMITTED})
"""Stages in which a distribution holds something for the customer."""

AUTHENTICATION: Final = "authentication"
ACCESS_CODE: Final = "access_code"
BOT_CHECK: Final = "bot_check"
REQUIREMENTS: Final = (AUTHENTICATION, ACCESS_CODE, BOT_CHECK)
"""In the order in which they are asked for."""

WAITLIST: Final = "waitlist"
ENTER_BY: Final = {
    "enter_queue": "queue",
    "enter_draw": "draw",
    "enter_auction": "auction",
    "enter_timed_release": "timed_release",
}
JOURNEY_ACTIONS: Final = (
    "start",
    "authenticate",
    "provide_access_code",
    "skip_access_code",
    "request_reroute",
    "retry",
    "complete_bot_check",
    "refresh_distribution",
)
SEQUENCE_ACTIONS: Final = (
    "enter_waitlist",
    "leave_waitlist",
    *ENTER_BY,
    "complete_timed_release",
    "leave_participation",
    "place_bid",
    "enter_appointment",
    "cancel_appointment",
    "accept_offer",
)
"""The last four go beyond the eight that every page knows."""
