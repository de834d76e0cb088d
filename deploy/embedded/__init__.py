"""Real PostgreSQL and Redis from Python wheels, for one machine and for the tests."""

from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.servers import EmbeddedServers, embedded_servers

__all__ = ["EmbeddedServerError", "EmbeddedServers", "embedded_servers"]
