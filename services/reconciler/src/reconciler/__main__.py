"""Runs the reconciler: `python -m reconciler`."""

from __future__ import annotations

from reconciler.wiring.app import serve
from reconciler.wiring.settings import ReconcilerSettings
from svckit.rungroup import run

if __name__ == "__main__":
    run(ReconcilerSettings, serve)
