"""Completion in a real bash offers what the tree has; of the other shells the scripts name it."""

import shutil
import subprocess

import pytest

from repave_cli.commands.help import below_of, texts
from repave_cli.main import make_parser
from tests.fakes.controller.command_line import CommandLine

ASKS = """
offered() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
    _shtab_repave repave "${!#}" 2>/dev/null
    echo "${COMPREPLY[*]}"
}
"""


def test_bash_offers_commands_verbs_and_options(run: CommandLine) -> None:
    script = run("completion", "bash").out
    asked = ('repave ""', "repave rol", 'repave queue ""', "repave release --q", "repave hosts -o j")
    program = script + ASKS + "\n".join(f"offered {words}" for words in asked)
    ran = subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    commands, started, verbs, options, formats = (set(line.split()) for line in ran.stdout.splitlines())
    assert set(texts(make_parser())) <= commands
    assert started == {"rollback", "roles"}
    assert verbs >= {"list", "drop", "resume"}
    assert options == {"--queue", "--queue-latest"}
    assert formats == {"json", "jsonl"}


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh", "powershell"])
def test_other_shells_get_a_script_with_every_command_and_verb(run: CommandLine, shell: str) -> None:
    script = run("completion", shell).out
    root = below_of(make_parser())
    for name in texts(make_parser()):
        assert name in script
        for verb in texts(root.choices[name]):
            assert verb in script, (name, verb)
    program = shutil.which(shell)
    if program and shell in ("zsh", "fish"):
        subprocess.run([program, "-n"], input=script, text=True, timeout=60, check=True)
