"""Secrets a template asks for: `coder_external_auth`, `coder_git_auth`, `coder_secret`."""

from __future__ import annotations

from collections.abc import Iterable

from provisionerd.tfprovider.checks import matches, not_empty
from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cty import Unknown
from provisionerd.tfprovider.kinds import DataSource, refuse
from provisionerd.tfprovider.schema import (
    BOOL,
    STRING,
    Block,
    Object,
    Problem,
    computed,
    optional,
    required,
)

__all__ = ["EXTERNAL_AUTH", "GIT_AUTH", "SECRET"]


def _read_external_auth(context: ProviderContext, config: Object) -> Object:
    name = str(config.get("id"))
    return {"id": name, "access_token": context.external_auth_tokens.get(name, "")}


EXTERNAL_AUTH = DataSource(
    name="coder_external_auth",
    schema=Block(
        attributes=(
            required("id", STRING, not_empty),
            optional("optional", BOOL),
            computed("access_token", sensitive=True),
        )
    ),
    read=_read_external_auth,
)

GIT_AUTH = DataSource(
    name="coder_git_auth",
    schema=Block(
        attributes=(
            required("id", STRING, not_empty),
            computed("access_token", sensitive=True),
        )
    ),
    read=_read_external_auth,
)


def _check_secret(config: Object) -> Iterable[Problem]:
    if any(isinstance(config.get(name), Unknown) for name in ("env", "file")):
        return  # either may turn out to be empty
    given = [name for name in ("env", "file") if config.get(name) not in (None, "")]
    if len(given) != 1:
        found = "both are" if given else "neither is"
        yield Problem(
            summary="Exactly one of env and file must be set",
            detail=f"Of env and file, {found} set.",
        )


def _read_secret(context: ProviderContext, config: Object) -> Object:
    env, file = str(config.get("env") or ""), str(config.get("file") or "")
    value = context.secrets_by_env.get(env) if env else context.secrets_by_file.get(file)
    # a stop or a delete must never fail for a secret that is gone
    if not value and context.build_id and context.transition == "start":
        raise refuse("Missing required secret", str(config.get("help_message") or ""))
    return {"id": f"env:{env}" if env else f"file:{file}", "value": value or ""}


SECRET = DataSource(
    name="coder_secret",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("help_message"),
            optional(
                "env",
                STRING,
                matches("([a-zA-Z_][a-zA-Z0-9_]*)?", "the name of an environment variable"),
            ),
            optional("file", STRING, matches("((~?/).*)?", "a path that starts with ~/ or /")),
            computed("value", sensitive=True),
        ),
    ),
    check=_check_secret,
    read=_read_secret,
)
