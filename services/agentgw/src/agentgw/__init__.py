"""The gateway that holds the agents' streams."""
