"""The agent that runs in every workspace, as a library and as `warmpool-agent`.

`Agent` is the whole agent. `wait_for_reinit` is its one essential wait, for programs that bring
their own way of running things: open a gateway, wait, act, acknowledge.
"""

from agentsdk.agent import Agent, AgentCallbacks
from agentsdk.core import ReinitEvent, ReinitSettled
from agentsdk.errors import AgentError, CallFailed, SettingsInvalid
from agentsdk.gateway import AckPhase, Gateway, Lifecycle, open_gateway
from agentsdk.limits import AgentLimits
from agentsdk.reinit import wait_for_reinit
from agentsdk.settings import AgentSettings, Token, read_settings
from agentsdk.surroundings import Surroundings

__all__ = [
    "AckPhase",
    "Agent",
    "AgentCallbacks",
    "AgentError",
    "AgentLimits",
    "AgentSettings",
    "CallFailed",
    "Gateway",
    "Lifecycle",
    "ReinitEvent",
    "ReinitSettled",
    "SettingsInvalid",
    "Surroundings",
    "Token",
    "open_gateway",
    "read_settings",
    "wait_for_reinit",
]
