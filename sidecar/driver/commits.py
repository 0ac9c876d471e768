"""What is known of the commits to a database: those that were made, and those that linked processes have told of."""

from dataclasses import dataclass

from sidecar.watch.database.commits import commits_between


@dataclass(frozen=True, slots=True)
class Commits:
    """The commits to a database at one moment.

    Attributes:
        state: What is another after each one, by whomever; empty where that can't be seen.
        told: How many linked processes have told of. One that wrote nothing counts as well.
        reading_seconds: How long its longest transcript was read for last.
    """

    state: bytes
    told: int = 0
    reading_seconds: float = 0.0

    def unaccounted(self, before: "Commits", told: int) -> bool:
        """There were more since ``before`` than linked processes have told of since; by now of ``told`` in all."""
        return commits_between(before.state, self.state) > told - before.told
