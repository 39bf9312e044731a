"""Long-lived coroutines: hints, reads, sweeps, records, liveness, drain."""
