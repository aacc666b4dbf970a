"""Fixtures every test may ask for."""

from hypothesis import settings

pytest_plugins = ["tests.support.servers"]

# Shared, busy machines: how long one example takes says nothing; enough examples to find what the tests look for.
settings.register_profile("shared", deadline=None, max_examples=60)
settings.load_profile("shared")
