"""What the tests of the tooling share."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout() -> Path:
    """The checkout that the tests belong to."""
    return CHECKOUT


@pytest.fixture(autouse=True)
def _set_up_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CHECKOUT / 'tools' / 'set_up'))
