"""What the decoding child gives up, also where it has no privilege to give up."""

import subprocess
import sys

import pytest

CHILD = """
import os, socket
from pipeline.decode import sandbox
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sandbox.enter(1 << 30)
print([name for _, name in socket.if_nameindex()])
file = os.memfd_create("made")
try:
    print(os.write(file, b"something"))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces and memory files are Linux's")
def test_without_privileges_the_child_sees_no_network_and_writes_no_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=True
    )
    links, written = done.stdout.splitlines()
    assert written == "File too large"
    if links != "['lo']":
        pytest.skip("this system grants no user namespaces, so the network stays in sight")
