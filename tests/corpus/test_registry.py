"""Templates that others wrote, from a directory that is named: `make corpus CORPUS=DIRECTORY`.

The directory is laid out as the registry's repository is: `registry/NAMESPACE/templates/NAME`, and
modules beside them. Prints a table, writes bench-results/corpus.json, and fails if any failure is
the bundled provider's, or if fewer than half live (CORPUS_PASS_MIN, from 0 to 1, is another share).
Which others fail is for a person to read: a stub is no provider.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.stubs import serve_modules
from testkit.stubs.runner import Life, live

pytestmark = [pytest.mark.corpus, pytest.mark.terraform, pytest.mark.timeout(3600)]

RESULTS = Path(__file__).parents[2] / "bench-results"
CHECKOUT = Path(os.environ.get("CORPUS") or "/nowhere").absolute()
PASS_MIN = float(os.environ.get("CORPUS_PASS_MIN") or 0.5)
COMMANDS = ("incus", "railway", "sleep")
"""What local-exec provisioners of templates call: stubs of it that say yes at once."""


def find_templates(checkout: Path) -> Iterator[tuple[str, Path]]:
    """Every template with the name people know it by."""
    for path in sorted(checkout.glob("registry/*/templates/*")):
        yield f"{path.parts[-3]}/{path.name}", path


def make_commands(directory: Path) -> dict[str, str]:
    """An environment in which the commands of templates do nothing."""
    directory.mkdir()
    for name in COMMANDS:
        (directory / name).write_text("#!/bin/sh\nexit 0\n")
        (directory / name).chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


async def test_templates_of_others_live_from_import_to_delete(tmp_path: Path) -> None:
    checkout = CHECKOUT
    templates = list(find_templates(checkout))
    assert templates, f"{checkout} has no registry/*/templates/*; name it with CORPUS=DIRECTORY"
    environment = make_commands(tmp_path / "bin")
    lives: list[Life] = []
    with serve_modules(checkout) as cli_config:
        for number, (name, path) in enumerate(templates):
            work = tmp_path / str(number)
            work.mkdir()
            life = await live(path, work, name=name, cli_config=cli_config, environment=environment)
            lives.append(life)
            tell(life)
    passed = [life for life in lives if not life.failed_step]
    print(f"\n{len(passed)} of {len(lives)} live from import to delete")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "corpus.json").write_text(json.dumps([as_row(life) for life in lives], indent=2))
    assert [(life.name, life.error) for life in lives if life.blames_coder] == []
    assert len(passed) >= PASS_MIN * len(lives)


def tell(life: Life) -> None:
    """One line of the table."""
    if life.failed_step:
        print(f"{life.name:44} {life.failed_step:8} {' '.join(life.error.split())[:300]}")
    else:
        steps = " ".join(f"{name} {ms:.0f}" for name, ms in life.steps_ms.items())
        print(f"{life.name:44} ok       {steps} ms")


def as_row(life: Life) -> dict[str, object]:
    """One row of the file."""
    return {
        "name": life.name,
        "failed_step": life.failed_step,
        "error": life.error,
        "blamed": life.blamed,
        "providers": life.providers,
        "steps_ms": life.steps_ms,
        "agents": [agent.name for agent in life.created.agents],
        "parameters": len(life.imported.parameters),
        "presets": [preset.name for preset in life.imported.presets],
        "replaced_at_claim": [each.address for each in life.claimed.replacements],
    }
