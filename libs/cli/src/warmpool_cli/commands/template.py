"""template push, list, versions, promote, check, policy."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from warmpool.common.v1.types_pb2 import LogLevel, LogLine
from warmpool.control.v1.pools_pb2 import ListPoolsRequest
from warmpool.control.v1.templates_pb2 import (
    ListTemplatesRequest,
    ListTemplateVersionsRequest,
    PromoteTemplateVersionRequest,
    PushTemplateHeader,
    PushTemplateVersionResponse,
    TemplateVersion,
)
from warmpool_cli.archive import TemplateArchive, detect_provisioner_type, pack_template
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.commands.check import check
from warmpool_cli.commands.options import NoWait, Organization, read_pairs
from warmpool_cli.commands.policy import policy
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.flows.pushing import find_takers, follow_import, upload_template
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.tables import pools_table, presets_table, templates_table, versions_table
from warmpool_cli.render.words import counted

__all__ = ["register", "template_name_of"]

PROVISIONER_TYPES = ("terraform", "process")
NAME_LENGTH_MAX = 32

_Directory = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The template's.")]
_Name = Annotated[str, typer.Option("--name", "-n", help="Template name; else the directory's.")]
_Version = Annotated[str, typer.Option("--version", help='Version name; else the next "vN".')]
_Message = Annotated[str, typer.Option("--message", "-m", help="What changed, for people.")]
_Promote = Annotated[
    bool,
    typer.Option("--promote/--no-promote", help="Make it the active version once imported."),
]
_Type = Annotated[
    str, typer.Option("--type", help='"terraform" or "process"; else by the files in it.')
]
_Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="Only provisioners with this tag."),
]
_TemplateName = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Template name.")]
_VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="Version name.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Import templates and choose versions.", no_args_is_help=True)
    add_command(group, "push")(push)
    add_command(group, "list")(list_templates)
    add_command(group, "versions")(versions)
    add_command(group, "promote")(promote)
    add_command(group, "check")(check)
    add_command(group, "policy")(policy)
    app.add_typer(group, name="template")


async def push(
    call: Invocation,
    directory: _Directory,
    name: _Name = "",
    version: _Version = "",
    message: _Message = "",
    promote: _Promote = True,
    provisioner_type: _Type = "",
    tag: _Tag = None,
    organization: Organization = "",
    no_wait: NoWait = False,
) -> None:
    """Upload a directory as a new version, follow its import, show its presets and pools."""
    if provisioner_type not in ("", *PROVISIONER_TYPES):
        raise UsageInvalid(
            f"--type {provisioner_type!r} is not known",
            f"give one of {', '.join(PROVISIONER_TYPES)}",
        )
    archive = pack_template(directory)
    header = PushTemplateHeader(
        organization=organization,
        template=name or template_name_of(directory),
        version=version,
        provisioner_type=provisioner_type or detect_provisioner_type(directory),
        promote=promote,
        message=message,
        provisioner_tags=read_pairs("--tag", tag or ()),
    )
    async with call.client() as client:
        pushed = await _upload(call, client, header, archive)
        if await find_takers(client, header) is False:
            call.output.say(
                f"no connected provisioner takes {_job_words(header)}: it waits for one"
            )
        if no_wait:
            call.output.document(as_json(pushed))
            call.output.say(f"import queued: version {pushed.version.name}")
            return
        look = f"the import goes on; look with `warmpool template versions {header.template}`"
        with call.output.outlived(look):
            imported = await _follow(call, client, pushed.version)
        pools = await client.pools.ListPools(
            ListPoolsRequest(template=header.template), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(
        {
            "template": as_json(pushed.template),
            "version": as_json(imported),
            "pools": [as_json(pool) for pool in pools.pools],
        }
    )
    active = " and is active" if imported.active else ""
    call.output.say(f"{header.template} {imported.name} is imported{active}", style="green")
    if imported.presets:
        call.output.draw(presets_table(imported.presets))
    if pools.pools:
        call.output.draw(pools_table(pools.pools, call.clock.now()))


async def list_templates(call: Invocation, organization: Organization = "") -> None:
    """List the templates you may use."""
    async with call.client() as client:
        answer = await client.templates.ListTemplates(
            ListTemplatesRequest(organization=organization), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    if answer.templates:
        call.output.draw(templates_table(answer.templates, call.clock.now()))
    else:
        call.output.say("No templates. Push one: warmpool template push DIRECTORY")


async def versions(
    call: Invocation, template: _TemplateName, organization: Organization = ""
) -> None:
    """List a template's versions, newest first."""
    async with call.client() as client:
        answer = await client.templates.ListTemplateVersions(
            ListTemplateVersionsRequest(organization=organization, template=template),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer))
    call.output.draw(versions_table(answer.versions, call.clock.now()))


async def promote(
    call: Invocation,
    template: _TemplateName,
    version: _VersionName,
    organization: Organization = "",
) -> None:
    """Make an imported version the active one; its pools fill, the ones before it drain."""
    async with call.client() as client:
        answer = await client.templates.PromoteTemplateVersion(
            PromoteTemplateVersionRequest(
                organization=organization, template=template, version=version
            ),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer))
    call.output.say(f"{template}: {answer.template.active_version_name} is active", style="green")


def template_name_of(directory: Path) -> str:
    """A template name made of the directory's; raises UsageInvalid if none can be."""
    plain = unicodedata.normalize("NFKD", directory.resolve().name)  # an accent is its own letter
    letters = "".join(c for c in plain.lower() if not unicodedata.combining(c))
    name = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")
    name = name[:NAME_LENGTH_MAX].strip("-")
    if not name:
        raise UsageInvalid(
            f"no template name can be made of {directory}", "give one with --name NAME"
        )
    return name


def _job_words(header: PushTemplateHeader) -> str:
    tags = ", ".join(f"{name}={value}" for name, value in sorted(header.provisioner_tags.items()))
    return f"{header.provisioner_type} jobs" + (f" with {tags}" if tags else "")


async def _upload(
    call: Invocation, client: Client, header: PushTemplateHeader, archive: TemplateArchive
) -> PushTemplateVersionResponse:
    size = len(archive.content)
    files = counted(len(archive.files), "file")
    call.output.say(
        f"pushing {header.template} ({header.provisioner_type}): {files}, "
        f"{size / 1024:.1f} KiB packed"
    )
    if not call.output.is_terminal:
        return await upload_template(client, header, archive.content, lambda _sent: None)
    columns = (TextColumn("upload"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=call.output.console, transient=True) as progress:
        task = progress.add_task("upload", total=size)
        return await upload_template(
            client, header, archive.content, lambda sent: progress.advance(task, sent)
        )


async def _follow(call: Invocation, client: Client, version: TemplateVersion) -> TemplateVersion:
    with call.output.step(f"importing {version.name}") as step:

        def on_line(line: LogLine) -> None:
            if line.level >= LogLevel.LOG_LEVEL_WARN:
                call.output.say(f"  {line.text}", style="yellow")
            elif line.level != LogLevel.LOG_LEVEL_DEBUG:
                step.update(f"{line.stage}: {line.text}" if line.stage else line.text)

        return await follow_import(client, version, on_line)
