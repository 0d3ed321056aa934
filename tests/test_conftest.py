"""Tests do not depend on the speed of the machine."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("changed", [settings(), settings(max_examples=3)])
def test_properties_are_tested_without_a_deadline(changed):
    given(st.integers())(changed(lambda number: None))()
    assert changed.deadline is None
    assert HealthCheck.too_slow in changed.suppress_health_check
