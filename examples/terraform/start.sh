# Starts the agent in a session of its own, so that it outlives this build and nothing else.
set -eu
umask 077
directory="${WARMPOOL_WORKSPACES_DIR:-$HOME/.warmpool/workspaces}/$WORKSPACE_ID"
mkdir -p "$directory"
cd "$directory"
printf '%s\n' "$INIT_SCRIPT" > init.sh
unset INIT_SCRIPT
if command -v setsid > /dev/null 2>&1; then
  setsid /bin/sh ./init.sh < /dev/null > agent.log 2>&1 &
else
  nohup /bin/sh ./init.sh < /dev/null > agent.log 2>&1 &
fi
echo $! > agent.pid
echo "agent started in $directory"
