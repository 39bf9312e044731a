"""Commands of templates and tools, run as children until they end or are asked to."""
