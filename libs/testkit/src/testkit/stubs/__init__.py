"""Stand-ins for Terraform providers that cannot be had: their schema is read out of the templates
that use them, they answer over the plugin protocol, and make nothing.
"""

from testkit.stubs.hcl import Usage, read_usage
from testkit.stubs.modules import serve_modules
from testkit.stubs.server import serve_stubs

__all__ = ["Usage", "read_usage", "serve_modules", "serve_stubs"]
