"""The API of the public contract: made by ``create_app``; import it only to serve."""

from pipeline.entry.api.app import create_app
from pipeline.entry.api.services import Intake, Limits, Services

__all__ = ["Intake", "Limits", "Services", "create_app"]
