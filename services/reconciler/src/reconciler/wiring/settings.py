"""What an operator decides about the reconciler. Flags, then WARMPOOL_RECONCILER_* variables, then
a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from bus.access import NatsAccess
from reconciler.core.notifications.kinds import MailTls
from reconciler.store.cipher import StateCipher, cipher_from_text
from svckit.addresses import is_loopback
from svckit.errors import InvalidArgument, StartFailed
from svckit.nats_settings import NatsSettings

__all__ = ["ReconcilerSettings"]


class ReconcilerSettings(NatsSettings):
    """The control plane's settings."""

    service: ClassVar[str] = "reconciler"

    database_url: SecretStr = Field(
        default=SecretStr(""), description="Postgres, postgresql://user:password@host/database"
    )
    database_url_file: Path | None = Field(
        default=None, description="A file that holds the database URL"
    )
    database_pool_max: int = Field(
        default=16, ge=4, le=500, description="Connections to Postgres; the pool loop takes half"
    )
    agent_url: str = Field(
        default="http://127.0.0.1:7443",
        description="Where agents find their gateway, as templates see it",
    )
    state_key_file: Path | None = Field(
        default=None,
        description="Secrets that encrypt tfstate, one a line; the first encrypts, all decrypt",
    )
    allow_plain_state: bool = Field(
        default=False, description="Store tfstate, and the secrets in it, in clear without a key"
    )
    migrate: bool = Field(
        default=True,
        description="Bring the schema up to date before serving; if not, refuse an older one",
    )
    migrate_post: bool = Field(
        default=False,
        description="Also take the steps that older replicas could not bear, once none is left",
    )
    bootstrap_owner_token_file: Path | None = Field(
        default=None, description="The token of the first owner, user admin"
    )
    bootstrap_provisioner_key_file: Path | None = Field(
        default=None, description="The key of the first provisioners"
    )
    bootstrap_gateway_key_file: Path | None = Field(
        default=None, description="The key of the agent gateways"
    )
    reconcile_tick_seconds: float = Field(
        default=15.0, ge=0.1, le=3600, description="Between two looks at the pools without a hint"
    )
    agent_timeout_seconds: float = Field(
        default=60.0,
        ge=5,
        le=3600,
        description="An agent not heard of for so long is not connected",
    )
    heartbeat_seconds: float = Field(
        default=3.0, ge=0.1, le=60, description="Between two signs of life of a running job"
    )
    cancel_grace_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="From the request to stop a job to force"
    )
    job_unconfirmed_seconds: float = Field(
        default=15.0, ge=1, le=600, description="A job without a first heartbeat goes back"
    )
    job_hung_seconds: float = Field(
        default=300.0, ge=5, le=86400, description="A running job without a heartbeat is settled"
    )
    job_pending_seconds: float = Field(
        default=1800.0, ge=10, le=604800, description="A job no provisioner takes fails"
    )
    reaper_tick_seconds: float = Field(
        default=5.0, ge=0.1, le=600, description="Between two looks for silent jobs"
    )
    lifecycle_tick_seconds: float = Field(
        default=15.0,
        ge=0.1,
        le=3600,
        description="Between two looks for workspaces that are due by themselves",
    )
    job_logs_days: int = Field(
        default=0, ge=0, le=36500, description="How long to keep builds' logs; 0 is for ever"
    )
    agent_logs_days: int = Field(
        default=0, ge=0, le=36500, description="How long to keep agents' logs; 0 is for ever"
    )
    audit_days: int = Field(
        default=0, ge=0, le=36500, description="How long to keep the audit log; 0 is for ever"
    )
    notification_days: int = Field(
        default=0,
        ge=0,
        le=36500,
        description="How long to keep notifications once sent, given up or read; 0 is for ever",
    )
    pool_backoff_seconds: float = Field(
        default=60.0, ge=0, le=86400, description="Backoff per recent failure of a pool"
    )
    pool_failure_lookback_seconds: float = Field(
        default=3600.0,
        ge=1,
        le=604800,
        description="How long a failure counts; who was ready for so long is no failure when lost",
    )
    pool_failure_hard_limit: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="Failures or waves of losses in a row that stop a pool; 0 never",
    )
    pool_never_ready_seconds: float = Field(
        default=1800.0, ge=1, le=604800, description="A prebuild not ready by then is replaced"
    )
    pool_lost_seconds: float = Field(
        default=600.0,
        ge=1,
        le=604800,
        description="A prebuild that was ready and has not been for so long is replaced",
    )
    pool_jobs_in_flight_max: int = Field(
        default=50, ge=1, le=100000, description="Prebuild jobs that may wait or run at once"
    )
    claim_events_raw: bool = Field(
        default=False, description="Write claim events as older gateways expect them"
    )

    notification_tick_seconds: float = Field(
        default=5.0, ge=0.1, le=600, description="Between two looks for notifications to send"
    )
    notification_timeout_seconds: float = Field(
        default=20.0, ge=0.1, le=300, description="How long one send may take"
    )
    notification_attempts_max: int = Field(
        default=60, ge=1, le=100, description="Attempts before a notification is a dead letter"
    )
    notification_retry_seconds: float = Field(
        default=10.0,
        ge=0.01,
        le=3600,
        description="Before the second attempt; doubled each time, up to an hour",
    )
    notification_ca_file: Path | None = Field(
        default=None,
        description="Certificates that mail and webhook servers may be signed by, besides the"
        " system's",
    )
    provisioners_missing_seconds: float = Field(
        default=600.0,
        ge=0,
        le=604800,
        description="Jobs that no provisioner could take for so long are told of; 0 never tells",
    )
    smtp_host: str = Field(default="", description="The mail server; empty sends no mail")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Its port")
    smtp_tls: MailTls = Field(
        default=MailTls.STARTTLS, description="How the connection to it is encrypted"
    )
    smtp_from: str = Field(default="", description="The address mail is from")
    smtp_username: str = Field(default="", description="Who logs in there; empty does not")
    smtp_password_file: Path | None = Field(default=None, description="Their password")
    webhook_url: SecretStr = Field(
        default=SecretStr(""), description="Every notification is posted here; empty posts none"
    )
    webhook_url_file: Path | None = Field(
        default=None, description="A file that holds the webhook's URL, which may be a secret"
    )
    webhook_secret_file: Path | None = Field(
        default=None, description="What signs the posts, at least 16 bytes, or whsec_ and base64"
    )
    apprise_urls_file: Path | None = Field(
        default=None,
        description="Apprise URLs that every notification goes to, one a line",
    )

    @model_validator(mode="after")
    def _check_agent_url(self) -> Self:
        parts = urlsplit(self.agent_url)
        if parts.scheme == "https" or self.allow_plaintext or is_loopback(parts.hostname or ""):
            return self
        raise ValueError(
            f"agent_url is {self.agent_url}: agents on other machines would send their tokens in"
            " clear, and refuse to; give https://, or set allow_plaintext here and"
            " WARMPOOL_AGENT_ALLOW_PLAINTEXT=true in the workspaces where something else encrypts"
        )

    def read_database_url(self) -> str:
        """The URL, from the file if one is given; raises InvalidArgument if there is none."""
        if self.database_url_file is not None:
            return self.database_url_file.read_text().strip()
        url = self.database_url.get_secret_value()
        if not url:
            raise InvalidArgument(
                "database_url: missing; give --database-url-file or"
                " WARMPOOL_RECONCILER_DATABASE_URL",
                field="database_url",
            )
        return url

    def read_state_cipher(self) -> StateCipher:
        """What encrypts tfstate; raises StartFailed without a key, unless plain was asked for."""
        if self.state_key_file is None:
            if self.allow_plain_state:
                return StateCipher([])
            raise StartFailed(
                "state_key_file: missing; tfstate holds secrets and is stored encrypted. Give"
                " --state-key-file or WARMPOOL_RECONCILER_STATE_KEY_FILE a file with a random"
                " line, or set allow_plain_state to store it in clear"
            )
        try:
            return cipher_from_text(self.state_key_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise StartFailed(
                f"state_key_file: cannot read {self.state_key_file}: {error}"
            ) from error
        except InvalidArgument as error:
            raise StartFailed(f"{error.message} ({self.state_key_file})") from error

    def nats_access(self) -> NatsAccess:
        """Who this service is to NATS, and whom it trusts there."""
        return NatsAccess(
            credentials_file=self.nats_credentials_file,
            nkey_file=self.nats_nkey_file,
            ca_file=self.nats_ca_file,
            cert_file=self.nats_cert_file,
            key_file=self.nats_key_file,
        )
