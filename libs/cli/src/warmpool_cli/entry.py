"""Where the console script begins: little enough that Ctrl-C is heard from the first moment on."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command; ends the process with the documented exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines would follow ours
    try:
        from warmpool_cli.main import main as run_command  # takes a third of a second

        run_command()
    except KeyboardInterrupt:  # before the work had begun, so there is nothing to clean up
        print("error: interrupted by SIGINT", file=sys.stderr)
        print("  fix: none is needed; run the command again if that was not meant", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
