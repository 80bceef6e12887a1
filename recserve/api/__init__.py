"""The HTTP API: wire models, routes, error mapping and the page, for any host that implements ``Backend``."""

from recserve.api.app import create_app
from recserve.api.backends.local import LocalBackend
from recserve.api.backends.protocol import Backend, Readiness
from recserve.api.settings import ApiSettings

__all__ = ["ApiSettings", "Backend", "LocalBackend", "Readiness", "create_app"]
