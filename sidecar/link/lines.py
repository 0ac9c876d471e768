"""Cuts what arrives on a link into lines."""


class LineReader:
    """Keeps the beginning of a line until the rest of it arrives.

    Attributes:
        too_long: A line longer than the limit has arrived. It and all that follows are left out.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Nothing has arrived; ``limit_bytes`` is the longest line, newline included."""
        self.too_long = False
        self._limit = limit_bytes - 1
        self._begun = bytearray()

    def cut(self, arrived: bytes) -> list[bytes]:
        """Return the lines that are whole now, without their newlines. Each byte is looked at once."""
        head, newline, rest = arrived.rpartition(b"\n")
        lines: list[bytes] = []
        if newline:
            lines = head.split(b"\n")
            if self._begun:
                lines[0] = bytes(self._begun) + lines[0]
                self._begun.clear()
        self._begun += rest
        long = next((number for number, line in enumerate(lines) if len(line) > self._limit), None)
        self.too_long = self.too_long or long is not None or len(self._begun) > self._limit
        return lines[:long]
