"""Generates the protobuf modules of protos/repave_protos at build time; they are never committed."""

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtobufBuildHook(BuildHookInterface[Any]):
    """Runs grpcio-tools with mypy-protobuf over every .proto of the package."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        from grpc_tools import protoc

        source = Path(self.root) / "protos"
        plugin = shutil.which("protoc-gen-mypy", path=str(Path(sys.executable).parent)) or "protoc-gen-mypy"
        plugin_grpc = plugin.replace("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        for proto in sorted(source.rglob("*.proto")):
            arguments = [
                "protoc",
                f"-I{source}",
                f"--python_out={source}",
                f"--grpc_python_out={source}",
                f"--plugin=protoc-gen-mypy={plugin}",
                f"--mypy_out=quiet:{source}",
                f"--plugin=protoc-gen-mypy_grpc={plugin_grpc}",
                f"--mypy_grpc_out=quiet:{source}",
                str(proto),
            ]
            if protoc.main(arguments) != 0:
                raise RuntimeError(f"protoc failed on {proto}")
