"""The control plane: the only owner of Postgres."""
