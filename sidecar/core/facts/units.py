"""Nanoseconds, in which the core has its times and lengths."""

from typing import Final

NS_PER_MS: Final = 1_000_000
NS_PER_SECOND: Final = 1_000_000_000
