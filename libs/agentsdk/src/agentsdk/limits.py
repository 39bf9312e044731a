"""Every bound of the agent, with its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AgentLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """Defaults fit a fleet of ten thousand agents on one gateway."""

    call_seconds: float = 10.0
    """Longest wait for an answer to one call; there is always a deadline."""
    first_frame_seconds: float = 30.0
    """Longest wait for a stream's first frame, connecting included. NATs forget after a minute."""
    keepalive_seconds: float = 30.0
    """The connection is probed this often, more often than NATs forget; a gateway permits one probe
    every 10 s."""
    keepalive_timeout_seconds: float = 10.0
    """A probe that is not answered by then means that the connection is dead."""
    heartbeat_seconds_max: float = 300.0
    """A gateway that announces rarer heartbeats is read as if it had announced this."""
    fast_initial_seconds: float = 0.5
    """Retries that may help soon: the first waits up to this,"""
    fast_maximum_seconds: float = 10.0
    """and each twice as long, up to this."""
    slow_initial_seconds: float = 5.0
    """Retries that need somebody to change something first: the same, slower."""
    slow_maximum_seconds: float = 60.0
    retry_after_seconds_max: float = 300.0
    """A gateway that asks for a longer wait gets this one."""
    outdated_manifest_seconds: float = 30.0
    """How long a manifest may lag behind the claim that was announced."""
    log_lines_max: int = 5_000
    """Lines waiting to be sent; 5,000 x 8 KiB is 40 MiB at the very worst, usually below 1 MiB."""
    log_batch_lines_max: int = 500
    """Lines in one call; the wire allows no more."""
    log_batch_bytes_max: int = 200_000
    """Text in one call; the gateway accepts messages of 256 KiB."""
    log_line_bytes_max: int = 8_192
    """Text in one line; longer lines are cut into several."""
    log_delay_seconds: float = 0.1
    """How long lines gather before they are sent."""
    terminate_seconds: float = 2.0
    """Between SIGTERM and SIGKILL to a script's process group."""
    output_seconds: float = 0.5
    """How long a finished script's output is waited for; background processes may hold it."""
    complain_seconds: float = 30.0
    """While something keeps failing, it is logged this often."""
