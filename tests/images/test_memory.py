"""Limits on memory."""

from sklearn import config_context

from sklearn_similar._images.memory import within_working_memory


def test_amounts_follow_the_working_memory_of_scikit_learn():
    assert within_working_memory(1000) == 1000
    with config_context(working_memory=512):
        assert within_working_memory(1000) == 500
    with config_context(working_memory=4096):
        assert within_working_memory(1000) == 4000


def test_something_is_always_worked_on():
    with config_context(working_memory=0):
        assert within_working_memory(1000) == 1
