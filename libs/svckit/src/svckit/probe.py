"""`python -m svckit.probe HOST:PORT [NAME]`: a health check for supervisors that can only run a
command, at an address that speaks no TLS (`health_listen`).

Exits with 0 if NAME serves ("" by default: the server as a whole), 1 if it does not, 2 if the
address is no address. Says why on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2

from svckit.addresses import parse_listen
from svckit.health import SERVICE_NAME

__all__ = ["main"]

PROBE_SECONDS = 3.0


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    if not 1 <= len(argv) <= 2:
        sys.stderr.write("usage: python -m svckit.probe HOST:PORT [NAME]\n")
        return 2
    address, name = argv[0], argv[1] if len(argv) == 2 else ""
    try:
        parse_listen(address)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    direct = (("grpc.enable_http_proxy", 0),)  # a supervisor asks what runs beside it
    with grpc.insecure_channel(address, options=direct) as channel:
        check = channel.unary_unary(
            f"/{SERVICE_NAME}/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            sys.stderr.write(f"{address} does not answer: {error.code().name}\n")  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownArgumentType]
            return 1
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        sys.stderr.write(f"{name or 'the server'} does not serve\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
