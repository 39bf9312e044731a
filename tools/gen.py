"""Generates the committed protobuf and gRPC code: `make gen`; `--check` fails if it is not current.

Proto package paths are Python import paths, so the generated imports need no rewriting.
grpcio-tools is the only generator; the stubs come from mypy-protobuf with asyncio signatures only.
"""

from __future__ import annotations

import filecmp
import os
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
# (where the .proto files are found, which of them, where the code goes)
TARGETS = (
    (ROOT / "proto", "warmpool/**/*.proto", ROOT / "libs/contracts/src"),
    (
        ROOT / "services/provisionerd/src",
        "provisionerd/tfprovider/protocol/*.proto",
        ROOT / "services/provisionerd/src",
    ),
)


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    # protoc finds the mypy plugins beside this interpreter
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    stale: list[Path] = []
    for include, pattern, destination in TARGETS:
        protos = sorted(include.glob(pattern))
        if not protos:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            generated = generate(include, protos, Path(scratch), packages=include == ROOT / "proto")
            if check:
                stale += [
                    destination / f
                    for f in generated
                    if not same(Path(scratch) / f, destination / f)
                ]
                stale += orphans(destination, include, pattern, generated)
            else:
                for orphan in orphans(destination, include, pattern, generated):
                    orphan.unlink()
                for file in generated:
                    (destination / file).parent.mkdir(parents=True, exist_ok=True)
                    (destination / file).write_bytes((Path(scratch) / file).read_bytes())
    for file in stale:
        print(f"not current: {file.relative_to(ROOT)} (run: make gen)", file=sys.stderr)
    return 1 if stale else 0


def generate(include: Path, protos: list[Path], out: Path, *, packages: bool) -> list[Path]:
    """Runs protoc and returns the generated files, relative to `out`."""
    wellknown = str(resources.files("grpc_tools") / "_proto")
    options = [f"--{kind}_out={out}" for kind in ("python", "grpc_python")]
    options.append(f"--mypy_out=quiet:{out}")
    options.append(f"--mypy_grpc_out=only_async,quiet:{out}")
    if protoc.main(["protoc", f"-I{include}", f"-I{wellknown}", *options, *map(str, protos)]) != 0:
        raise SystemExit("protoc failed")
    if packages:
        for directory in {
            p for f in out.rglob("*.py") for p in f.relative_to(out).parents if str(p) != "."
        }:
            (out / directory / "__init__.py").write_text(
                '"""Generated from proto/ by `make gen`; never edited."""\n'
            )
        (out / "warmpool" / "py.typed").touch()
    return sorted(
        f.relative_to(out) for f in out.rglob("*") if f.is_file() and "__pycache__" not in f.parts
    )


def orphans(destination: Path, include: Path, pattern: str, generated: list[Path]) -> list[Path]:
    """Generated files whose .proto is gone."""
    names = (f for f in destination.glob(pattern.rpartition("/")[0] + "/*_pb2*.py*"))
    return [
        f
        for f in names
        if f.parent.name != "__pycache__" and f.relative_to(destination) not in generated
    ]


def same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
