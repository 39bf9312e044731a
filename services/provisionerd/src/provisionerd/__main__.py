"""`python -m provisionerd`."""

from provisionerd.wiring.service import serve
from provisionerd.wiring.settings import ProvisionerdSettings
from svckit.rungroup import run

if __name__ == "__main__":
    run(ProvisionerdSettings, serve)
