"""The CLI configuration of every run: generated, so that no file of the machine's user decides.

A configured file comes first, word for word. A mirror makes `init` take every provider from one
directory; without either, providers come from their registries.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["render_cli_config"]


def render_cli_config(
    *, base: str = "", plugin_mirror_dir: Path | None, plugin_cache_dir: Path
) -> str:
    """Returns the text of a CLI configuration file."""
    parts = [base.rstrip()] if base.strip() else []
    if "disable_checkpoint" not in base:
        parts.append("disable_checkpoint = true")
    if "plugin_cache_dir" not in base:
        parts.append(f"plugin_cache_dir = {_quote(plugin_cache_dir)}")
        # otherwise a template without a lock file downloads what the cache already has
        parts.append("plugin_cache_may_break_dependency_lock_file = true")
    if plugin_mirror_dir is not None:
        parts.append(
            "provider_installation {\n"
            f"  filesystem_mirror {{\n    path = {_quote(plugin_mirror_dir)}\n  }}\n"
            "}"
        )
    return "\n".join(parts) + "\n"


def _quote(path: Path) -> str:
    # JSON's escapes are HCL's; a template mark would be read as an expression
    return json.dumps(str(path)).replace("${", "$${").replace("%{", "%%{")
