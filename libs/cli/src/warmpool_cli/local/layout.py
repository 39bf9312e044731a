"""Where a local system keeps its files. All of them are below one directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from warmpool_cli.connection import CONNECTION_FILE

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories and files of one local system."""

    root: Path

    @property
    def postgres(self) -> Path:
        """The database."""
        return self.root / "postgres"

    @property
    def nats(self) -> Path:
        """The bus."""
        return self.root / "nats"

    @property
    def services(self) -> Path:
        """Logs and port files of the services."""
        return self.root / "services"

    @property
    def provisioner(self) -> Path:
        """What provisionerd keeps between jobs."""
        return self.root / "provisioner"

    @property
    def workspaces(self) -> Path:
        """One directory a workspace, for templates that provision on this machine."""
        return self.provisioner / "workspaces"

    @property
    def secrets(self) -> Path:
        """Tokens and keys, 0600 each."""
        return self.root / "secrets"

    @property
    def owner_token_file(self) -> Path:
        """The token of the user "admin"."""
        return self.secrets / "owner-token"

    @property
    def provisioner_key_file(self) -> Path:
        """What provisionerd shows the reconciler."""
        return self.secrets / "provisioner-key"

    @property
    def gateway_key_file(self) -> Path:
        """What the gateway shows the reconciler."""
        return self.secrets / "gateway-key"

    @property
    def state_key_file(self) -> Path:
        """What tfstate is encrypted with."""
        return self.secrets / "state-key"

    @property
    def database_url_file(self) -> Path:
        """The database's address with its password."""
        return self.secrets / "database-url"

    @property
    def connection_file(self) -> Path:
        """What the other commands read."""
        return self.root / CONNECTION_FILE

    def port_file(self, service: str) -> Path:
        """Where a service writes its port when it is ready."""
        return self.services / f"{service}.port"

    def make(self) -> None:
        """Creates the directories, for this user alone."""
        for directory in (self.root, self.services, self.secrets, self.provisioner):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.workspaces.mkdir(mode=0o700, exist_ok=True)
