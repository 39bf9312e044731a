"""The agent that runs in every workspace, as a library and as warmpool-agent."""
