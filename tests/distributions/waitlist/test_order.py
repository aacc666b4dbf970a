import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.distributions.waitlist import order as orders
from orchestrator.distributions.waitlist.order import Order

STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "insert", "remove", "move"]), st.integers(0, 10**6)), max_size=200
)


@pytest.fixture(autouse=True, params=[(1_024, 1 << 24), (3, 1 << 24), (3, 4), (3, 16)], ids=str)
def sizes(request, monkeypatch) -> None:
    block, gap = request.param
    monkeypatch.setattr(orders, "BLOCK", block)
    monkeypatch.setattr(orders, "_GAP", gap)


def check(order: Order, model: list[int]) -> None:
    assert list(order) == model
    assert len(order) == len(model)
    assert order.first(5) == model[:5]
    assert all(len(keys) <= 2 * orders.BLOCK for keys, _ in order._blocks), "a block grows without end"
    assert [order.position(ticket) for ticket in model] == list(range(len(model)))


@given(steps=STEPS)
@settings(max_examples=150)
def test_an_order_is_a_list(steps: list[tuple[str, int]]) -> None:
    """Appending, inserting, moving and removing in any mix leave what they would leave of a plain list."""
    order, model, ticket = Order(), [], 0
    for step, number in steps:
        if step in {"append", "insert"} or not model:
            ticket += 1
            at = len(model) if step == "append" else number % (len(model) + 1)
            model.insert(at, ticket)
            order.append(ticket) if step == "append" else order.insert(at, ticket)
        else:
            gone = model.pop(number % len(model))
            order.remove(gone)
            assert gone not in order
            with pytest.raises(KeyError):
                order.position(gone)
            if step == "move":
                at = number // 7 % (len(model) + 1)
                model.insert(at, gone)
                order.insert(at, gone)
        check(order, model)


def test_a_thousand_moves_to_one_place_keep_the_order() -> None:
    """Moving again and again to the front, where keys run out, loses nobody's place."""
    order, model = Order(), list(range(1, 301))
    for ticket in model:
        order.append(ticket)
    chance = random.Random(7)
    for _ in range(1_000):
        ticket = model.pop(chance.randrange(len(model)))
        at = chance.choice([0, 1, 150])
        order.remove(ticket)
        order.insert(at, ticket)
        model.insert(at, ticket)
    check(order, model)
