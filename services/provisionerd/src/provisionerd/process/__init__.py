"""The `process` provisioner. The public face is here; the modules are this package's own."""

from provisionerd.process.provisioner import ProcessProvisioner
from provisionerd.process.settings import ProcessSettings

__all__ = ["ProcessProvisioner", "ProcessSettings"]
