"""What was left out, or is not as it should be: nothing is dropped silently."""

from collections import Counter


class Notes:
    """Collect remarks; equal ones are counted, not repeated."""

    def __init__(self) -> None:
        """Start with no remark."""
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, remark: str, example: str = '') -> None:
        """Note ``remark``; ``example`` is kept of the first time."""
        self._counts[remark] += 1
        if example and remark not in self._examples:
            self._examples[remark] = example

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the remarks in the order of their first appearance."""
        return tuple(self._line(remark, count) for remark, count in self._counts.items())

    def _line(self, remark: str, count: int) -> str:
        example = self._examples.get(remark)
        line = remark if count == 1 else f'{remark} ({count} times)'
        return f'{line}; the first: {example}' if example else line
