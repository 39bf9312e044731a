"""What this process remembers while it runs, and the door to durable truth."""
