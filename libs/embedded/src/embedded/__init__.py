"""A real Postgres and a real nats-server from wheels, for one machine, demos and tests.

The public face is here; modules with a leading underscore are this package's own.
"""

from embedded._proc import is_running
from embedded.errors import DirectoryInUse, EmbeddedError, StartFailed, Unsupported
from embedded.files import find_free_port, read_or_make_secret
from embedded.nats import EmbeddedNats
from embedded.postgres import EmbeddedPostgres
from embedded.supervisor import INSTANCE_VARIABLE, Supervisor

__all__ = [
    "INSTANCE_VARIABLE",
    "DirectoryInUse",
    "EmbeddedError",
    "EmbeddedNats",
    "EmbeddedPostgres",
    "StartFailed",
    "Supervisor",
    "Unsupported",
    "find_free_port",
    "is_running",
    "read_or_make_secret",
]
