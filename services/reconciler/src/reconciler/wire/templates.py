"""Templates, between protobuf and values."""

from __future__ import annotations

from reconciler.core.lifecycle import TemplatePolicy
from reconciler.core.templates import (
    ImportedOption,
    ImportedParameter,
    ImportedPrebuilds,
    ImportedPreset,
    ImportedSchedule,
    ImportResult,
    PresetView,
    Push,
    TemplateView,
    VersionView,
)
from reconciler.wire.values import JOB_STATUSES, decode_parameters, encode_parameters, encode_time
from warmpool.control.v1 import templates_pb2 as control
from warmpool.provisioner.v1 import provisioner_pb2 as provisioner

__all__ = [
    "decode_import_result",
    "decode_policy",
    "decode_push",
    "encode_template",
    "encode_version",
]


def decode_push(header: control.PushTemplateHeader) -> Push:
    """What is pushed; not judged yet."""
    return Push(
        template=header.template,
        version=header.version,
        provisioner_type=header.provisioner_type,
        is_promoted=header.promote,
        message=header.message,
        tags=dict(header.provisioner_tags),
    )


def decode_import_result(result: provisioner.TemplateImportResult) -> ImportResult:
    """What an import found; not judged yet, but for values that are given twice."""
    return ImportResult(
        parameters=tuple(map(_decode_parameter, result.parameters)),
        presets=tuple(map(_decode_preset, result.presets)),
        agent_names=tuple(result.agent_names),
    )


def _decode_parameter(p: provisioner.ImportedParameter) -> ImportedParameter:
    return ImportedParameter(
        name=p.name,
        type=p.type,
        display_name=p.display_name,
        description=p.description,
        default_value=p.default_value,
        has_default=p.has_default,
        mutable=p.mutable,
        ephemeral=p.ephemeral,
        options=tuple(
            ImportedOption(name=o.name, value=o.value, description=o.description) for o in p.options
        ),
        validation_regex=p.validation_regex,
        validation_error=p.validation_error,
        validation_min=p.validation_min if p.HasField("validation_min") else None,
        validation_max=p.validation_max if p.HasField("validation_max") else None,
        validation_monotonic=p.validation_monotonic,
    )


def _decode_preset(preset: provisioner.ImportedPreset) -> ImportedPreset:
    pool = preset.prebuilds
    return ImportedPreset(
        name=preset.name,
        is_default=preset.is_default,
        parameters=decode_parameters(preset.parameters),
        description=preset.description,
        icon=preset.icon,
        prebuilds=ImportedPrebuilds(
            instances=pool.instances,
            ttl_seconds=pool.ttl_seconds,
            timezone=pool.timezone,
            schedules=tuple(
                ImportedSchedule(cron=s.cron, instances=s.instances) for s in pool.schedules
            ),
        )
        if preset.HasField("prebuilds")
        else None,
    )


def encode_template(template: TemplateView) -> control.Template:
    """A template as people see it."""
    active = template.active_version_id
    return control.Template(
        id=str(template.id),
        organization_id=str(template.organization_id),
        name=template.name,
        provisioner_type=template.provisioner_type,
        active_version_id="" if active is None else str(active),
        active_version_name=template.active_version_name,
        created_at=encode_time(template.created_at),
        policy=_encode_policy(template.policy),
    )


def _encode_policy(policy: TemplatePolicy) -> control.TemplatePolicy:
    return control.TemplatePolicy(
        default_ttl_seconds=policy.default_ttl_seconds,
        activity_bump_seconds=policy.activity_bump_seconds,
        max_ttl_seconds=policy.max_ttl_seconds,
        dormant_after_seconds=policy.dormant_after_seconds,
        delete_dormant_after_seconds=policy.delete_dormant_after_seconds,
        failure_ttl_seconds=policy.failure_ttl_seconds,
        allow_autostart=policy.is_autostart_allowed,
    )


def decode_policy(policy: control.TemplatePolicy) -> TemplatePolicy:
    """What a template's workspaces shall do; not judged yet."""
    return TemplatePolicy(
        default_ttl_seconds=policy.default_ttl_seconds,
        activity_bump_seconds=policy.activity_bump_seconds,
        max_ttl_seconds=policy.max_ttl_seconds,
        dormant_after_seconds=policy.dormant_after_seconds,
        delete_dormant_after_seconds=policy.delete_dormant_after_seconds,
        failure_ttl_seconds=policy.failure_ttl_seconds,
        is_autostart_allowed=policy.allow_autostart,
    )


def encode_version(version: VersionView) -> control.TemplateVersion:
    """A version as people see it."""
    return control.TemplateVersion(
        id=str(version.id),
        template_id=str(version.template_id),
        name=version.name,
        job_id=str(version.job_id),
        import_status=JOB_STATUSES[version.import_status],
        import_error=version.import_error,
        active=version.is_active,
        parameters=map(_encode_parameter, version.parameters),
        presets=map(_encode_preset, version.presets),
        created_at=encode_time(version.created_at),
        message=version.message,
    )


def _encode_parameter(p: ImportedParameter) -> control.Parameter:
    return control.Parameter(
        name=p.name,
        type=p.type,
        display_name=p.display_name,
        description=p.description,
        default_value=p.default_value,
        has_default=p.has_default,
        mutable=p.mutable,
        ephemeral=p.ephemeral,
        options=[
            control.ParameterOption(name=o.name, value=o.value, description=o.description)
            for o in p.options
        ],
        validation_regex=p.validation_regex,
        validation_error=p.validation_error,
        validation_min=p.validation_min,
        validation_max=p.validation_max,
        validation_monotonic=p.validation_monotonic,
    )


def _encode_preset(view: PresetView) -> control.Preset:
    preset, pool = view.preset, view.preset.prebuilds
    message = control.Preset(
        id=str(view.id),
        name=preset.name,
        is_default=preset.is_default,
        parameters=encode_parameters(preset.parameters),
        description=preset.description,
    )
    if pool is not None:
        message.instances = pool.instances
        message.ttl_seconds = pool.ttl_seconds
        message.scheduling_timezone = pool.timezone
        message.schedules.extend(
            control.Schedule(cron=s.cron, instances=s.instances) for s in pool.schedules
        )
    return message
