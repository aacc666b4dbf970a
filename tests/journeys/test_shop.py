"""The shop example: the way of a customer, counted."""

from collections.abc import Iterable

from orchestrator.core.decider import TimerFired
from orchestrator.core.events import EffectRequested
from orchestrator.journeys.lifecycle.commands import HandleEvent
from tests.support.spec import NOW_MS, Story, example

SPEC = example("shop")


def walk(types: Iterable[str], story: Story | None = None) -> Story:
    story = story or SPEC.given()
    for type in types:
        story = story.when(HandleEvent(type, {"source": "ads", "deviceType": "phone"}))
    return story


def test_the_usual_way_to_the_first_order() -> None:
    """Views, cart, checkout, payment: each step in its state with its number, the visit's source kept."""
    story = walk(
        ["USER_CREATED", "PRODUCT_VIEWED", "PRODUCT_VIEWED", "ITEM_ADDED_TO_CART", "CHECKOUT_STARTED"]
    )
    assert (story.label, story.state.context["stepIndex"]) == ("CHECKOUT.DETAILS", 4)
    story = walk(["PAYMENT_STARTED"], story)
    assert story.label == "CHECKOUT.PAYMENT"
    story = walk(["PAYMENT_SUCCESSFUL", "ORDER_PLACED"], story)
    assert story.label == "ACTIVE_SUBSCRIBER"
    context = story.state.context
    assert (context["views"], context["carts"], context["orders"], context["stepIndex"]) == (2, 1, 1, 5)
    assert context["metadata"] == {"source": "ads", "deviceType": "phone", "entitlements": ["premium"]}


def test_the_third_failed_payment_goes_back_to_the_cart() -> None:
    """Two failures return to the details, the third to the cart, and the count begins again."""
    story = walk(["ITEM_ADDED_TO_CART", "CHECKOUT_STARTED"])
    for _ in range(2):
        story = walk(["PAYMENT_STARTED", "PAYMENT_FAILED"], story)
        assert story.label == "CHECKOUT.DETAILS"
    story = walk(["PAYMENT_STARTED", "PAYMENT_FAILED"], story)
    assert (story.label, story.state.context["failedPayments"]) == ("CONSIDERATION", 0)


def test_a_checkout_can_be_cancelled_from_both_pages() -> None:
    """The transition of CHECKOUT is inherited by its pages."""
    for pages in ([], ["PAYMENT_STARTED"]):
        assert (
            walk(["ITEM_ADDED_TO_CART", "CHECKOUT_STARTED", *pages, "CHECKOUT_CANCELLED"]).label
            == "CONSIDERATION"
        )


def test_an_order_makes_a_subscriber_from_anywhere() -> None:
    """Imports that know only orders lead to the same place, and announce it once."""
    story = walk(["ORDER_PLACED"])
    assert story.label == "ACTIVE_SUBSCRIBER"
    assert len(story.of(EffectRequested)) == 1
    assert not walk(["ORDER_PLACED"], story).of(EffectRequested)


def test_churned_customers_come_back() -> None:
    """After a month of silence any event counts as a return; an order leads straight to the subscribers."""
    gone = walk(["PRODUCT_VIEWED"]).when(TimerFired("after:*", NOW_MS + 30 * 86_400_000))
    assert gone.label == "CHURNED"
    back = walk(["EMAIL_OPENED"], gone)
    assert (back.label, back.state.context["returns"]) == ("BROWSING", 1)
    buyer = walk(["ORDER_PLACED"], gone)
    assert (buyer.label, buyer.state.context["returns"], buyer.state.context["orders"]) == (
        "ACTIVE_SUBSCRIBER",
        1,
        1,
    )
