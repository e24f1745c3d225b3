"""Counting what was seen in which frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 5


@dataclass
class Tally:
    """How many frames something was seen in, and the first few of them.

    Example:
        >>> tally = Tally()
        >>> for frame in range(7):
        ...     tally.add("water", frame)
        >>> tally.frames["water"], tally.where("water")
        (7, 'frames 0, 1, 2, 3, 4, …')
    """

    frames: Counter[str] = field(default_factory=Counter)
    amounts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[int]] = field(default_factory=dict)

    def add(self, what: str, index: int, amount: int = 1) -> None:
        self.frames[what] += 1
        self.amounts[what] += amount
        numbers = self.first.setdefault(what, [])
        if len(numbers) < _SHOWN:
            numbers.append(index)

    def where(self, what: str) -> str:
        numbers, count = ", ".join(map(str, self.first[what])), self.frames[what]
        return f"frame{'s' if count > 1 else ''} {numbers}{', …' if count > _SHOWN else ''}"
