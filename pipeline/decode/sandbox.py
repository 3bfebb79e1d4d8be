"""What the child gives up before it looks at a stranger's bytes."""

import ctypes
import resource
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWNET: Final = 0x40000000
_CLONE_NEWUSER: Final = 0x10000000
_OPEN_FILES_MAX: Final = 64


def enter(address_space_extra: int) -> None:
    """Give up memory beyond the limit, writing files, core dumps, privileges and the network.

    Memory is bounded everywhere; an own, empty network namespace needs a privilege, or a user
    namespace of its own, and is taken where either is granted. The child imports nothing that talks to a
    network in any case.
    """
    _lower(resource.RLIMIT_AS, _address_space_now() + address_space_extra)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES_MAX)
    libc = ctypes.CDLL(None, use_errno=True)
    unshare = getattr(libc, "unshare", None)
    if unshare is not None and unshare(_CLONE_NEWNET) != 0:
        unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    for name, arguments in (
        ("prctl", (_PR_SET_DUMPABLE, 0, 0, 0, 0)),
        ("prctl", (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
    ):
        call = getattr(libc, name, None)
        if call is not None:
            call(*arguments)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _address_space_now() -> int:
    """Bytes of address space in use; 0 where the system does not tell (then the limit is absolute)."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[0]) * resource.getpagesize()
