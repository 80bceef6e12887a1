"""The HTTP API: wire models, routes, error mapping and the page, for any host that implements ``Backend``."""

from recserve.api.app import create_app
from recserve.api.backend import Backend, Readiness
from recserve.api.inprocess import LocalBackend
from recserve.api.settings import ApiSettings

__all__ = ["ApiSettings", "Backend", "LocalBackend", "Readiness", "create_app"]
