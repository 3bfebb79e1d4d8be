"""The analysts' console: pages of cases and evidence, made by ``mount``; import it only to serve."""

from pipeline.entry.console.app import Console, mount

__all__ = ["Console", "mount"]
