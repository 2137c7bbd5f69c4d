"""The numbers that a setting may have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, without `low` or `high` themselves where `above` or `below` is set."""

    low: float
    high: float = 1e300
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        at_least = number > self.low if self.above else number >= self.low
        return at_least and (number < self.high if self.below else number <= self.high)

    def __str__(self) -> str:
        """What a number must be, in words, without an upper bound that is hardly ever reached."""
        least = f"above {self.low:,}" if self.above else f"of at least {self.low:,}" if self.low else "of 0 or more"
        if self.high >= HUGE:
            return least
        if self.above or self.below:
            return f"{least} and {'below' if self.below else 'at most'} {self.high:,}"
        return f"from {self.low:,} to {self.high:,}"


HUGE = 10**12  # more than any setting can usefully be
COUNT, NONE_OR_MORE = Range(1, HUGE), Range(0)
PART, PROPER_PART = Range(0, 1), Range(0, 1, below=True)
