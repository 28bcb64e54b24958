"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """Return e.g. ``1 episode``, ``0 episodes`` or ``1,000 episodes``."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')
