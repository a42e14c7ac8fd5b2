"""Machine images that are baked from packages: image bake, image baked."""

import shlex
import time
from typing import Any

from repave_cli.render.output import Column, ago, column, short, show
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR, USAGE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal

LOOK_SECONDS = 2.0
BAKED = (
    column("REGION"),
    column("NAME"),
    Column("PACKAGE", lambda item: short(item["digest"])),
    Column("MADE", lambda item: ago(item["made_at"])),
    Column("STATE", lambda item: "used" if item["is_current"] else "of another base image, not used"),
    column("IMAGE", is_wide=True),
    column("BASE", is_wide=True),
    column("BY", is_wide=True),
)


def register(verbs: Any) -> None:
    bake = verbs.add_parser("bake", help="Make a machine image of a package, which hosts then need not fetch")
    bake.add_argument(
        "package", metavar="PACKAGE", help="a directory, a .tar.gz, or the digest of a stored one"
    )
    bake.add_argument("--region", action="append", default=[], help="repeat it for several")
    bake.add_argument("--name", default="", help="of the image (default: the package's with its digest)")
    bake.add_argument("--check", default="", help="a command run in the package before; it must end with 0")
    bake.add_argument("--no-wait", action="store_true", help="only begin")
    bake.set_defaults(run=run_bake)
    baked = verbs.add_parser("baked", help="Machine images there are, by region")
    baked.add_argument("--region", default="")
    baked.set_defaults(run=run_baked)


def run_baked(terminal: Terminal) -> int:
    answer = terminal.client.get("baked-images", region=terminal.arguments.region)
    none = "no machine images; repave image bake PACKAGE --region REGION makes one"
    show(terminal, answer, BAKED, "" if answer["unreachable"] else none)
    for bake in answer["bakes"]:
        terminal.say(_line(bake))
    for region, why in answer["unreachable"].items():
        terminal.say(f"{region}: {why}")
    return ERROR if answer["unreachable"] else DONE


def run_bake(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if not arguments.region:
        raise CliError("--region: name the regions to make the image in", USAGE)
    from repave_cli.specs.packages import stored  # tarfile is slow to import

    name, digest = stored(terminal, arguments.package)
    body = {
        "digest": digest,
        "name": arguments.name or f"{name}-{short(digest)}",
        "regions": arguments.region,
        "check": shlex.split(arguments.check),
        "by": who(),
    }
    answer = terminal.client.post("baked-images", body)
    return _report(terminal, answer, digest) if arguments.no_wait else _wait(terminal, answer, digest)


def _wait(terminal: Terminal, answer: dict[str, Any], digest: str) -> int:
    """Tells each step, until all regions have the image or have failed."""
    shown: dict[str, str] = {}
    while True:
        bakes = {each["region"]: each for each in answer["bakes"] if each["digest"] == digest}
        for region, bake in bakes.items():
            if shown.get(region) != (text := _line(bake)):
                terminal.say(text)
                shown[region] = text
        if all(bake["error"] for bake in bakes.values()):
            return _report(terminal, answer, digest)
        time.sleep(LOOK_SECONDS)
        answer = terminal.client.get("baked-images", region=",".join(terminal.arguments.region))


def _report(terminal: Terminal, answer: dict[str, Any], digest: str) -> int:
    wanted = set(terminal.arguments.region)
    made = [each for each in answer["items"] if each["digest"] == digest and each["region"] in wanted]
    show(terminal, {**answer, "items": made}, BAKED)
    shown = {each["region"] for each in (*made, *answer["bakes"])} | answer["unreachable"].keys()
    for region, why in answer["unreachable"].items():
        terminal.say(f"{region}: {why}")
    for region in sorted(wanted - shown):
        terminal.say(f"{region}: there is no image, and none is made: was its agent restarted?")
    is_done = wanted <= {each["region"] for each in made}
    return DONE if is_done or terminal.arguments.no_wait else ERROR


def _line(bake: dict[str, Any]) -> str:
    state = f"failed: {bake['error']}" if bake["error"] else bake["step"]
    return f"{bake['region']} {bake['name']}: {state}"
