"""The chassis of every service: settings, logging, telemetry, gRPC server, run groups, health."""

import os

# gRPC reads this when it is first imported. Its fork handlers disturb a server whose process starts
# children, and we never fork without exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
