"""Commands around the spec file: init, validate, schema.

The spec is imported late: pydantic and ruamel.yaml are slow to import, and most commands need neither.
"""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repave_cli.render.output import show_whole, tell
from repave_cli.specs.arguments import add_files
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.terminal import Terminal, whole

if TYPE_CHECKING:
    from repave_cli.specs.starters import Start

TEMPLATE = """\
repave: 1                                # format of this file
app: {app}

artifact:
  uri: .                                 # packed and stored by its digest; or a .tar.gz

host:
  # Started on each fresh host. $HOST and $PORT say where to listen: each host has an address of its own.
  run: {run}
  env: {env}

health:
  http: {{port: {host_port}, path: {path}, expect: 200}}
  interval: 2s
  min_healthy_time: 5s                   # so long on end before it may take traffic
  launch_deadline: 1m

traffic:
  frontend: {app}
  port: {port}                             # where clients come in
  drain: 30s                             # what requests in flight have to finish

regions:
{regions}

strategy:
  blue_green:
    warm: 1m                             # watched for so long after the switch; any failure switches back
    analyse:                             # so do errors and latency that are worse than the old hosts' were
      interval: 10s
      on_inconclusive: pass              # too few requests to tell: go on, by health; hold asks a person

rollback:
  keep: {{for: 24h, groups: 1}}            # the old hosts stay warm: going back is one switch
"""


def register(commands: Any) -> None:
    init = commands.add_parser("init", help="Write a repave.yaml for the app in this directory")
    init.add_argument("--name", help="the application's name (default: this directory's)")
    init.add_argument("--port", type=whole, default=8000, help="where clients come in (default 8000)")
    init.add_argument(
        "--region", action="append", help="a region; may be repeated (default local-1, local-2)"
    )
    init.add_argument(
        "--run",
        dest="starts",
        metavar="COMMAND",
        help="what starts the application (default: what is found here)",
    )
    init.add_argument("--size", type=whole, default=2, help="hosts in each region (default 2)")
    init.set_defaults(run=run_init)
    validate = commands.add_parser(
        "validate", help="Check a spec without a controller; errors name file, line and column"
    )
    validate.add_argument(
        "file", metavar="FILE", nargs="*", type=Path, help="later files overlay earlier ones"
    )
    add_files(validate, "the same, as other commands take it")
    validate.set_defaults(run=run_validate)
    commands.add_parser("schema", help="Print the JSON Schema of the spec, for editors").set_defaults(
        run=run_schema
    )


# ---------------------------------------------------------------------------------------------------- init


def run_init(terminal: Terminal) -> int:
    from repave_cli.specs.secrets import tell_secrets
    from repave_controller.spec.spec import app_for  # slow: pydantic

    arguments = terminal.arguments
    here = Path.cwd()
    target = here / "repave.yaml"
    if target.exists():
        raise CliError(f"{target} is there already; edit it, or remove it first", USAGE)
    name = arguments.name or app_for(here.name)
    start = _start(here, arguments.starts)
    regions = arguments.region or ["local-1", "local-2"]
    text = TEMPLATE.format(
        app=name,
        run=start.as_yaml,
        env=json.dumps(dict(start.environment)),
        host_port=start.port or 8080,
        path=json.dumps(start.health_path) if start.health_path else "/health",
        port=arguments.port,
        regions="\n".join(
            f"  - {{name: {region}, provider: local, size: {arguments.size}}}" for region in regions
        ),
    )
    check(text, "repave.yaml")
    _write(target, text)
    written = {"name": name, "file": str(target), "run": start.as_yaml, "source": start.source}
    tell(
        terminal,
        {**written, "notes": list(start.notes)},
        f"wrote {target}; look at host.run and health, then: repave plan, repave release",
    )
    if terminal.is_for_people:
        terminal.say(f"host.run is {start.as_yaml}, by {start.source}")
        for note in start.notes:
            terminal.say(f"note: {note}")
    tell_secrets(terminal, here)
    return DONE


def _write(target: Path, text: str) -> None:
    """Nothing is left of it when it fails. Raises CliError."""
    try:
        target.write_text(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        raise CliError(f"{target} can't be written: {error.strerror}") from error


def _start(here: Path, command: str | None) -> "Start":
    """What a person says, else what the folder says. Raises CliError when nothing does, or several things."""
    from repave_cli.specs import starters

    if command is not None:
        if not command.strip():
            raise CliError("--run: it is empty; write for example --run './serve --port $PORT'", USAGE)
        return starters.given(command)
    try:
        found = starters.found_in(here)
    except starters.UnclearError as error:
        raise CliError(f"{error}; say what starts the application, with --run", USAGE) from error
    if found is None:
        hints = "".join(f"; {hint}" for hint in starters.hints(here))
        raise CliError(
            f"nothing here says what starts the application (looked for: {starters.LOOKED_AT}){hints}; "
            "say it: repave init --run './serve --host $HOST --port $PORT'",
            USAGE,
        )
    return found


def check(text: str, filename: str) -> Any:
    """The spec, validated. Raises CliError with a line for each problem."""
    from repave_controller.spec.loader import SpecError, load  # slow: pydantic

    try:
        return load(text, filename)[0]
    except SpecError as error:
        raise spec_error(error) from error


def spec_error(error: Any) -> CliError:
    """A SpecError as the CLI ends with it."""
    problems = [
        {
            "file": each.file,
            "line": each.line,
            "column": each.column,
            "field": each.field,
            "message": each.message,
            "fix": each.fix,
        }
        for each in error.problems
    ]
    problem = {
        "type": "urn:repave:problem:spec",
        "title": "spec",
        "status": 422,
        "detail": str(error),
        "rule": "spec",
        "problems": problems,
    }
    return CliError("\n".join(map(str, error.problems)), USAGE, problem)


# ------------------------------------------------------------------------------------------------ validate


def run_validate(terminal: Terminal) -> int:
    given = terminal.arguments
    spec, _, files = read_spec(terminal, [*(given.files or ()), *given.file])
    names = ", ".join(map(str, files))
    if terminal.is_for_people:
        size = sum(region.hosts for region in spec.regions)
        regions = len(spec.regions)
        hosts = f"{size} host{'s' * (size != 1)} in {regions} region{'s' * (regions != 1)}"
        terminal.out(f"{names}: good: {spec.application}, {hosts}")
    else:
        show_whole(terminal, {"file": names, "valid": True, "application": spec.application})
    return DONE


def read_spec(terminal: Terminal, given: list[Path]) -> tuple[Any, str, list[Path]]:
    """The spec, its text, and its files: those given, or repave.yaml here or above."""
    from repave_controller.spec.loader import SpecError, find_spec, load_files  # slow

    try:
        files = given or [find_spec(Path.cwd())]
        spec, text = load_files(files)
    except SpecError as error:
        raise spec_error(error) from error
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}", USAGE) from error
    return spec, text, files


def run_schema(terminal: Terminal) -> int:
    from repave_controller.spec.schema import schema  # slow

    if terminal.is_for_people:
        terminal.out(json.dumps(schema(), indent=2))
    else:
        show_whole(terminal, schema())
    return DONE
