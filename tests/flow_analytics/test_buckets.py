from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from projections.flow_analytics.buckets import RELATIVE_ERROR, bucket_of, middle_ms, quantile_ms

_spans = st.one_of(st.integers(0, 50), st.integers(0, 10_000_000), st.integers(0, 10**13))


@given(_spans, _spans)
def test_a_bucket_stands_for_times_within_a_sixteenth(one: int, other: int) -> None:
    """The middle of a bucket is off by a sixteenth at most, and longer times never have lower buckets."""
    assert abs(middle_ms(bucket_of(one)) - one) <= one * RELATIVE_ERROR
    assert bucket_of(middle_ms(bucket_of(one))) == bucket_of(one)
    if one <= other:
        assert bucket_of(one) <= bucket_of(other)


@given(st.lists(_spans, min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_quantiles_are_within_a_sixteenth_of_the_true_ones(spans: list[int], share: float) -> None:
    """The approximate quantile is the exact one's bucket, however the counts were added up."""
    split = len(spans) // 3
    added = Counter(map(bucket_of, spans[:split])) + Counter(map(bucket_of, spans[split:]))
    exact = min(s for s in spans if sum(t <= s for t in spans) >= share * len(spans))
    found = quantile_ms(added, share)
    assert found is not None
    assert abs(found - exact) <= exact * RELATIVE_ERROR


def test_no_times_have_no_quantile_and_few_buckets_hold_a_lifetime() -> None:
    """Nothing measured is None, times told backwards are none, and a century needs some 300 buckets."""
    assert quantile_ms({}, 0.5) is None
    assert bucket_of(-5) == 0
    assert bucket_of(100 * 366 * 86_400_000) < 320
