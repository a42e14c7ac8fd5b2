"""Ansible's way to a machine of tests/support/machines.py: its process is entered, as nsenter does."""

import shutil
import subprocess
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: machine
short_description: a machine of the tests
description: Enters the namespaces of a process.
options:
  process:
    description: The machine's first process.
    vars: [{name: machine_process}]
"""
INSIDE = ("--mount", "--pid", "--net", "--root", "--wd", "--")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Connection(ConnectionBase):  # type: ignore[misc]  # Ansible has no types
    """As root; there is nothing to log in to."""

    transport = "machine"
    has_pipelining = True

    def _connect(self) -> "Connection":
        self._connected = True
        return self

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        done = self._run(["/bin/sh", "-c", cmd], in_data)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        done = self._run(["/bin/sh", "-c", 'cat > "$0"', out_path], Path(in_path).read_bytes())
        if done.returncode:
            raise AnsibleError(f"{out_path}: {done.stderr!r}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        Path(out_path).write_bytes(self._run(["cat", in_path], None).stdout)

    def close(self) -> None:
        self._connected = False

    def _run(self, words: list[str], given: bytes | None) -> "subprocess.CompletedProcess[bytes]":
        nsenter = [shutil.which("nsenter") or "nsenter", "--target", str(self.get_option("process")), *INSIDE]
        environment = {"PATH": PATH, "HOME": "/root"}
        return subprocess.run(
            [*nsenter, *words], env=environment, input=given or b"", capture_output=True, check=False
        )
