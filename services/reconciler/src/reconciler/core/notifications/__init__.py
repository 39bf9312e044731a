"""Who is told what, on which channel, and how often it is tried."""
