"""Property-based tests: whatever comes in is used, or refused with an RlEdgeError.

The number of examples is small, so that the tests stay quick; `pytest tests/fuzz
--hypothesis-profile=thorough` tries a hundred times as many.
"""

from hypothesis import HealthCheck, settings

_SUPPRESSED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    'quick',
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=_SUPPRESSED,
    database=None,
)
settings.register_profile(
    'thorough', max_examples=6000, deadline=None, suppress_health_check=_SUPPRESSED
)
settings.load_profile('quick')
