"""A real Postgres and a real nats-server from wheels, for one machine, demos and tests."""
