"""The chassis of every service: settings, logging, telemetry, gRPC server, run groups, health."""
