"""The long-lived coroutines: one that acquires jobs, a few for every job."""
