"""Where the parts are made and put together."""
