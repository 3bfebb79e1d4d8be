"""Prefect flows: schedules, retries, concurrency, artifacts. No logic of their own.

Each flow opens the house of its settings and calls the same functions as the command line. Prefect is
told not to call home before it is imported for the first time.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# A busy machine needs longer than the default 20 s to bring up the embedded server.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
