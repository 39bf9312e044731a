"""The scripts that start our agent inside a workspace.

`${ACCESS_URL}` (with a trailing slash) and `${AUTH_TYPE}` are filled in by the provider; whatever
the workspace's environment already says wins. The token is not in here: a template hands it to its
machine as CODER_AGENT_TOKEN, so this text may be logged and may sit in user data.
"""

from __future__ import annotations

__all__ = ["INIT_SCRIPT", "INIT_SCRIPT_WINDOWS"]

INIT_SCRIPT = """\
#!/bin/sh
# Starts the workspace agent. WARMPOOL_AGENT_COMMAND names another command, arguments included.
set -eu
CODER_AGENT_URL="${CODER_AGENT_URL:-${ACCESS_URL}}"
CODER_AGENT_AUTH="${CODER_AGENT_AUTH:-${AUTH_TYPE}}"
export CODER_AGENT_URL CODER_AGENT_AUTH
if [ -n "${CODER_AGENT_TOKEN:-}" ]; then
  export CODER_AGENT_TOKEN
fi
exec ${WARMPOOL_AGENT_COMMAND:-warmpool-agent}
"""

INIT_SCRIPT_WINDOWS = """\
# Starts the workspace agent. WARMPOOL_AGENT_COMMAND names another command.
if (-not $env:CODER_AGENT_URL) { $env:CODER_AGENT_URL = '${ACCESS_URL}' }
if (-not $env:CODER_AGENT_AUTH) { $env:CODER_AGENT_AUTH = '${AUTH_TYPE}' }
$command = 'warmpool-agent'
if ($env:WARMPOOL_AGENT_COMMAND) { $command = $env:WARMPOOL_AGENT_COMMAND }
& $command
exit $LASTEXITCODE
"""
