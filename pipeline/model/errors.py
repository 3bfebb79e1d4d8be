"""Every error that Bountyguard raises on purpose, each with a code that stays stable.

Drawn as a tree::

    BountyguardError
     ├─ UsageError            the caller asked for something that cannot be: exit 2
     ├─ StoreError            a store could not be reached or is not ours:     exit 3
     ├─ RowError              one row of a drop cannot be taken: quarantine
     ├─ ContentError          one file cannot be looked at: quarantine or abstention, never a finding
     └─ LedgerError           a transfer or credit entry would break the books: refused

Anything else that escapes is a bug and is let through.
"""


class BountyguardError(Exception):
    """Base of all expected errors. ``code`` is stable, ``str(error)`` is for people."""

    exit_status = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["BountyguardError"], tuple[str, str]]:
        return type(self), (self.code, self.message)


class UsageError(BountyguardError):
    """Wrong usage or configuration; says what to do instead."""

    exit_status = 2


class StoreError(BountyguardError):
    """A store could not be reached, is locked, or was made by a newer version."""

    exit_status = 3


class RowError(BountyguardError):
    """One row cannot be taken. Codes: ``row.*``, ``event.*``, ``blob.*``."""


class ContentError(BountyguardError):
    """One file cannot be looked at. Codes: ``blob.*``. Unreadable is never fraud."""


class LedgerError(BountyguardError):
    """A transfer or entry would break the books. Codes: ``transfer.*``, ``permit.*``, ``credit.*``."""
