"""Long-lived coroutines: snapshot, plan, apply."""
