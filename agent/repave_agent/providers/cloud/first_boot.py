"""What a fresh server does at its first boot: fetches its package, checks it, starts its command. As text.

The same machine.sh does it that repave puts on machines over SSH. Values are quoted words; the only thing
that the server fills in is $HOST, where its application listens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from repave_agent.core.ports import RefusedError
from repave_protos.protocol.values import Digest, HostName, short_digest

BYTES_MAX = 48_000
"""Nova takes 65,535 as base64."""
ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104  # of a server in its own network
ON_SERVER = "@repave-host-address@"
"""Stands for $HOST in words and values until the server knows it."""
BAKED, NOT_BAKED = "repave: baked", "repave: could not be baked"
"""What the console of a server says in the end from which an image is made."""
UNPACKED = """\
#!/bin/sh
# Made by repave for {whom}. Runs once, as root.
set -eu
{more}
ROOT=/var/lib/repave/host
HOST={listen}
{prepare}
mkdir -p "$ROOT/incoming"
cat >"$ROOT/machine.sh" <<'END-OF-MACHINE-SH'
{machine}
END-OF-MACHINE-SH
package="$ROOT/incoming/package.tar.gz"
fetch() {{
    if command -v curl >/dev/null; then curl -fsS --retry 5 --retry-connrefused -o "$package" "$1"
    elif command -v wget >/dev/null; then wget -q -O "$package" "$1"
    else python3 -c 'import sys, urllib.request as r; r.urlretrieve(sys.argv[1], sys.argv[2])' "$1" "$package"
    fi
}}
if [ ! -e "$ROOT/packages/{digest}" ]; then
    tries=0
    until fetch {url}; do
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || {{ echo "repave: the package can't be fetched from the agent"; exit 1; }}
        sleep 2
    done
    sh "$ROOT/machine.sh" unpack "$ROOT" {digest} "$package"
fi
"""
STARTED = """\
sh "$ROOT/machine.sh" date "$ROOT" {digest} {released}
sh "$ROOT/machine.sh" start "$ROOT" {host} {digest} {words}
echo "repave: {host} was started"
if [ ! -d /run/systemd/system ]; then
    tail -n +1 -F "$ROOT/hosts/{host}/log" 2>/dev/null &
    shown=$!
    sh "$ROOT/machine.sh" await "$ROOT" {host}
    sleep 1
    kill "$shown"
    echo "repave: $(sh "$ROOT/machine.sh" state "$ROOT" {host})"
fi
"""
CHECKED = """\
cd "$ROOT/packages/{digest}/app"
{check}
rm -rf "$ROOT/incoming"
if command -v cloud-init >/dev/null; then
    cloud-init clean --logs
    : >/etc/machine-id
fi
{seal}
sync
trap - EXIT
echo "{baked} {digest}"
"""


def user_data(
    host: HostName,
    digest: Digest,
    url: str,
    run: Sequence[str],
    environment: Mapping[str, str],
    prepare: str = "",
    released_at: float = 0.0,
    listen: str = ANY_IPV4,
) -> str:
    """`listen`: what $HOST is. `run` and values of `environment` may hold ON_SERVER. Raises RefusedError when
    it gets too long."""
    pairs = [f"{name}={value}" for name, value in environment.items()]
    words = " ".join([str(len(pairs)), *(quoted(each) for each in (*pairs, *run))])
    begun = _unpacked(f"{host}", digest, url, prepare, listen=listen)
    started = STARTED.format(host=host, digest=digest, words=words, released=int(released_at))
    return _short_enough(host, begun + started)


def bake_data(digest: Digest, url: str, check: Sequence[str], prepare: str = "", seal: str = "") -> str:
    """Of a server that an image is made of. `check` ends with 0 in the package, or nothing is baked. `seal`:
    what makes the disk fit for other servers, in the end."""
    told = f"trap 'echo \"{NOT_BAKED} ($?)\"' EXIT"
    begun = _unpacked(f"an image of {short_digest(digest)}", digest, url, prepare, told)
    words = " ".join(map(quoted, check)) or ":"
    return _short_enough(
        "the image", begun + CHECKED.format(digest=digest, check=words, seal=seal, baked=BAKED)
    )


def _unpacked(
    whom: str, digest: Digest, url: str, prepare: str, more: str = "", listen: str = ANY_IPV4
) -> str:
    machine = Path(__file__).parents[1].joinpath("ssh_pool", "machine.sh").read_text().rstrip("\n")
    return UNPACKED.format(
        whom=whom,
        digest=digest,
        url=quoted(url),
        prepare=prepare,
        machine=machine,
        more=more,
        listen=listen,
    )


def _short_enough(whom: str, text: str) -> str:
    if len(text.encode()) > BYTES_MAX:
        raise RefusedError(
            f"the user data of {whom} has {len(text.encode())} bytes, {BYTES_MAX} are possible: shorten run, "
            "env or prepare"
        )
    return text


def quoted(word: str) -> str:
    """One word of a shell, whatever it holds, with the server's own address where ON_SERVER stands."""
    inside = word.replace("'", "'\"'\"'").replace(ON_SERVER, "'\"$HOST\"'")
    return f"'{inside}'"
