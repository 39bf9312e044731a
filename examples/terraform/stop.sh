# Ends what start.sh started, and removes its directory. Doing it twice, or after a reboot, is harmless.
set -u
directory="${WARMPOOL_WORKSPACES_DIR:-$HOME/.warmpool/workspaces}/$WORKSPACE_ID"
pid="$(cat "$directory/agent.pid" 2> /dev/null || true)"

# The number may have gone to somebody else since; only a process that works in our directory is ours.
is_ours() {
  [ -n "$pid" ] || return 1
  [ ! -e "/proc/$$/cwd" ] || [ "$(readlink "/proc/$pid/cwd" 2> /dev/null)" = "$(cd "$directory" && pwd -P)" ] || return 1
  kill -0 "$pid" 2> /dev/null
}

if is_ours; then
  kill -TERM -- "-$pid" 2> /dev/null || kill -TERM "$pid" 2> /dev/null
  turns=0
  while is_ours && [ "$turns" -lt 100 ]; do
    sleep 0.1
    turns=$((turns + 1))
  done
  if is_ours; then
    kill -KILL -- "-$pid" 2> /dev/null || kill -KILL "$pid" 2> /dev/null
  fi
fi
rm -rf "$directory"
echo "agent stopped, $directory removed"
