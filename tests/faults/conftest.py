import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if 'tests/faults' in str(item.path):
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(900))
