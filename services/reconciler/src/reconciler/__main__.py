"""Runs the reconciler: `python -m reconciler`; or brings its database up to date and ends:
`python -m reconciler migrate`, with `--post` once no replica of the release before is left.
"""

from __future__ import annotations

import sys

from reconciler.wiring.app import serve
from reconciler.wiring.migration import bring_up_to_date, read_arguments
from reconciler.wiring.settings import ReconcilerSettings
from svckit.rungroup import run

if __name__ == "__main__":
    if sys.argv[1:2] == ["migrate"]:
        run(ReconcilerSettings, bring_up_to_date, read_arguments(sys.argv[2:]))
    run(ReconcilerSettings, serve)
