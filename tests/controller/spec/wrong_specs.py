"""A good spec, and what can be wrong in it, with what is then said."""

GOOD = """\
repave: 1
app: hello
artifact:
  uri: ./app
host:
  image: local
  run: ./serve
health:
  http: {port: 8080}
traffic:
  port: 8000
regions:
  - {name: paris, size: 3}
strategy:
  blue_green: {}
"""

# Each entry: what is replaced in GOOD, by what, and the problems after "repave.yaml:".
BAD = {
    "a misspelt option": (
        "  run:",
        "  runn: 1\n  run:",
        ["7:9: host.runn: unknown option; did you mean run?"],
    ),
    "an image without its digest": (
        "uri: ./app",
        "oci: registry.example.com/shop:v1",
        [
            "4:8: artifact.oci: write an image with its registry and its digest: "
            "registry.example.com/shop@sha256:... (64 digits; podman image inspect --format '{{.Digest}}' "
            "tells it)"
        ],
    ),
    "a package and an image": (
        "uri: ./app",
        "uri: ./app\n  oci: registry.example.com/shop@sha256:" + "5" * 64,
        ["5:8: artifact.oci: exactly one of uri and oci is needed"],
    ),
    "an image as an address": (
        "uri: ./app",
        "uri: oci://registry.example.com/shop",
        ["4:8: artifact.uri: name an image by artifact.oci, in place of artifact.uri"],
    ),
    "no command": (
        "  run: ./serve\n",
        "",
        ["6:3: host: run is missing: the command that serves, such as ./serve"],
    ),
    "an option that nothing is like": (
        "  port: 8000",
        "  port: 8000\n  zzz: 1",
        [
            "12:8: traffic.zzz: unknown option; there are: balancer, frontend, port, fronts, split, cookie, "
            "header, testers, drain, timeouts, protect"
        ],
    ),
    "a misspelt option of a later version": (
        "  run: ./serve",
        "  run: ./serve\n  drfit: taint",
        ["8:10: host.drfit: unknown option; did you mean drift?"],
    ),
    "an option of a later version": (
        "  blue_green: {}",
        "  canary: {baseline: true, steps: [{traffic: 5%}]}",
        ["15:22: strategy.canary.baseline: this version of repave has it under analyse; leave it out"],
    ),
    "zones": (
        "size: 3",
        "size: 3, zones: [a]",
        ["13:35: regions.0.zones: this version of repave knows no zones; leave it out"],
    ),
    "another provider": (
        "size: 3",
        "size: 3, provider: AWS",
        [
            "13:38: regions.0.provider: must be 1 to 32 of a-z, 0-9 and _, such as openstack or ssh_pool",
        ],
    ),
    "an image without a name": (
        "image: local",
        'image: ""',
        ["6:10: host.image: must not be empty"],
    ),
    "a package far away": (
        "./app",
        "ftp://example.com/{version}.tar.gz",
        ["4:8: artifact.uri: ftp: is not taken: https://, s3://, or a path relative to this file"],
    ),
    "another reason to go back": (
        "app: hello",
        "app: hello\nrollback: {on: [weather]}",
        ["3:17: rollback.on.0: must be 'health', 'analysis' or 'deadline'"],
    ),
    "another scope": (
        "app: hello",
        "app: hello\nrollback: {scope: planet}",
        ["3:19: rollback.scope: must be 'region', 'wave' or 'release'"],
    ),
    "a surge": (
        "app: hello",
        "app: hello\nguards: {max_surge: 10%}",
        [
            "16:15: strategy.blue_green: step 1: paris, 3 hosts: 3 old and 3 new hosts are 6 at once, "
            "max_surge 10% allows 4: rolling takes as many more as its largest step, and with first: old none"
        ],
    ),
    "another format": (
        "repave: 1",
        "repave: 2",
        ["1:9: repave: this version of repave reads format 1, not 2"],
    ),
    "a duration without unit": (
        "  blue_green: {}",
        "  blue_green: {warm: 30}",
        ["15:22: strategy.blue_green.warm: write a duration such as 500ms, 30s, 5m, 12h or 7d"],
    ),
    "no time at all": (
        "{port: 8080}",
        "{port: 8080}\n  interval: 0s",
        ["10:13: health.interval: must be more than 0s"],
    ),
    "a number in quotes": (
        "size: 3",
        'size: "3"',
        ["13:25: regions.0.size: must be a whole number; write it without quotes and units"],
    ),
    "a fraction": (
        "size: 3",
        "size: 2.5",
        ["13:25: regions.0.size: must be a whole number; write it without quotes and units"],
    ),
    "not a number": (
        "size: 3",
        "size: .nan",
        ["13:25: regions.0.size: must be a whole number; write it without quotes and units"],
    ),
    "true is no port": (
        "port: 8000",
        "port: true",
        ["11:9: traffic.port: must be a whole number; write it without quotes and units"],
    ),
    "too many hosts": ("size: 3", "size: 10001", ["13:25: regions.0.size: must be at most 10000"]),
    "no hosts": ("size: 3", "size: 0", ["13:25: regions.0.size: must be at least 1"]),
    "a port that does not exist": (
        "port: 8000",
        "port: 65536",
        ["11:9: traffic.port: must be at most 65535"],
    ),
    "a number beyond all bounds": (
        "port: 8000",
        "port: " + "9" * 50,
        [f"11:9: traffic.port: {'9' * 40} is no whole number that repave reads"],
    ),
    "a number with a leading zero": (
        "port: 8000",
        "port: 017500",
        [
            "11:9: traffic.port: 017500 means another number to other readers; "
            "write decimal digits alone, such as 8000"
        ],
    ),
    "a number with underscores": (
        "port: 8000",
        "port: 8_000",
        [
            "11:9: traffic.port: 8_000 means another number to other readers; "
            "write decimal digits alone, such as 8000"
        ],
    ),
    "a name without a value": (
        "app: hello",
        "app:",
        ["2:1: app: has no value; add one, or leave the option out"],
    ),
    "a command of several lines": (
        "run: ./serve",
        "run: |\n    ./prepare\n    ./serve",
        [
            "7:8: host.run: no shell runs this, a line break would be a space; "
            "write [sh, -c, '...'] for a shell"
        ],
    ),
    "a number for a word": ("app: hello", "app: 2048", ["2:6: app: must be text; put it in quotes"]),
    "a date for a word": (
        "app: hello",
        "app: hello\nowner: 2026-12-20",
        ["3:8: owner: must be text; put it in quotes"],
    ),
    "a letter that only looks right": (
        "app: hello",
        "app: h\u0435llo",
        ["2:6: app: 'h\\u0435llo' can't be the name of an app: 1 to 32 of a-z and 0-9, with single - inside"],
    ),
    "a region that is there twice": (
        "  - {name: paris, size: 3}",
        "  - {name: paris, size: 3}\n  - {name: paris, size: 1}",
        ["14:12: regions.1.name: paris is there twice"],
    ),
    "no region": (
        "  - {name: paris, size: 3}",
        "  []",
        ["13:3: regions: must not be empty"],
    ),
    "a list that is none": (
        "  - {name: paris, size: 3}",
        "  paris: 3",
        ["13:3: regions: must be a list; write [a, b], or one - entry a line"],
    ),
    "a section with nothing in it": (
        "  blue_green: {}",
        "  blue_green:",
        ["15:3: strategy.blue_green: must be a mapping of options; write {} for the defaults"],
    ),
    "a section with a value in its place": (
        "http: {port: 8080}",
        "command: ['true']",
        ["9:12: health.command: must be a mapping of options; there are: port, run"],
    ),
    "two ways to ask": (
        "{port: 8080}",
        "{port: 8080}\n  tcp: {port: 8080}",
        ["10:8: health.tcp: hosts are asked in one way only; leave out http or tcp"],
    ),
    "no way to ask": (
        "  http: {port: 8080}",
        "  interval: 1s",
        [
            "9:3: health: say how hosts are asked: add http: {port: 8080, path: /}, or tcp, or command",
        ],
    ),
    "a balancer that runs commands": (
        "  http: {port: 8080}",
        "  command: {port: 8080, run: ./check}\n  by: balancer",
        [
            "10:7: health.by: a balancer runs no commands inside hosts: ask by http or tcp, or set by: agent",
        ],
    ),
    "a balancer that calls a host down at once": (
        "{port: 8080}",
        "{port: 8080}\n  by: balancer\n  unhealthy_after: 1",
        [
            "11:20: health.unhealthy_after: a balancer calls a host down after 2 bad answers, not after 1: "
            "set unhealthy_after to 2 or more, or by: agent",
        ],
    ),
    "another source of health": (
        "{port: 8080}",
        "{port: 8080}\n  by: dice",
        ["10:7: health.by: must be 'agent' or 'balancer'"],
    ),
    "an answer slower than the questions": (
        "{port: 8080}",
        "{port: 8080}\n  timeout: 3s\n  interval: 2s",
        ["11:13: health.interval: an answer may not take longer than the interval: timeout <= interval"],
    ),
    "proven after the deadline": (
        "{port: 8080}",
        "{port: 8080}\n  min_healthy_time: 5m",
        ["10:21: health.min_healthy_time: min_healthy_time must be shorter than launch_deadline"],
    ),
    "more retained than kept": (
        "app: hello",
        "app: hello\nrollback:\n  keep: {retain: 2, groups: 1}",
        ["4:29: rollback.keep.groups: retain can't be more than groups"],
    ),
    "a variable that repave sets": (
        "run: ./serve",
        'run: ./serve\n  env: {A: b, PORT: "1"}',
        ["8:21: host.env.PORT: is set by repave; choose another name"],
    ),
    "a variable that is no text": (
        "run: ./serve",
        "run: ./serve\n  env: {A: 1}",
        ["8:12: host.env.A: must be text; put it in quotes"],
    ),
    "a place that only a host knows": (
        "run: ./serve",
        "run: ./serve {group}",
        ["7:8: host.run: {group} is not known here; a host finds it as $REPAVE_GROUP"],
    ),
    "a shell line": (
        "run: ./serve",
        "run: ./a && ./b",
        ["7:8: host.run: no shell runs this, && would be a plain word; write [sh, -c, '...'] for a shell"],
    ),
    "a path that is none": (
        "{port: 8080}",
        "{port: 8080, path: health}",
        ["9:28: health.http.path: must begin with / and hold no spaces: write a path such as /health"],
    ),
    "a host and headers that are none": (
        "  http: {port: 8080}",
        '  http:\n    port: 8080\n    host: a b\n    headers: {X-A: "1", X-B: " 2"}',
        [
            "11:11: health.http.host: must be a name or an address, with a port if need be: "
            "shop.example.com or shop.example.com:8443",
            "12:30: health.http.headers.X-B: must neither be empty nor begin or end with a space",
        ],
    ),
    "a silence that no balancer takes": (
        "  port: 8000",
        "  port: 8000\n  timeouts: {server: 0.1ms, tunnel: 8d}",
        [
            "12:22: traffic.timeouts.server: must be between 1ms and 7d",
            "12:37: traffic.timeouts.tunnel: must be between 1ms and 7d",
        ],
    ),
    "a time that no balancer takes": (
        "{port: 8080}",
        "{port: 8080}\n  timeout: 0.1ms",
        ["10:12: health.timeout: must be between 1ms and 1h"],
    ),
    "a digest that is none": (
        "./app",
        "./app\n  sha256: ABC",
        ["5:11: artifact.sha256: must be required, or 64 lower-case hexadecimal digits"],
    ),
    "a duplicate": (
        "app: hello",
        "app: hello\napp: other",
        ["3:1: app: is there twice; it was on line 2; remove one of them"],
    ),
    "a tab": ("  uri: ./app", "\turi: ./app", ["4:1: a tab can't indent; indent with spaces"]),
    "an object of Python": (
        "app: hello",
        "app: !!python/object/apply:os.system [ls]",
        ["2:6: app: the tag '!!python/object/apply:os.system' is not taken; write a plain value"],
    ),
    "a merge of a word": (
        "app: hello",
        "app: hello\n<<: me",
        ["3:5: << takes a mapping, or a list of them; write <<: *NAME"],
    ),
    "a second document": (
        "app: hello",
        "app: hello\n---\nrepave: 1",
        ["3:1: a second document begins here; one spec a file: remove the --- before it"],
    ),
    "a name that is no text": (
        "app: hello",
        "app: hello\n1: 2",
        ["3:1: the name of an option must be text; put it in quotes"],
    ),
    "an older YAML": (
        "repave: 1",
        "%YAML 1.1\n---\nrepave: 1",
        ["1:1: a directive is not taken; remove it; this is YAML 1.2"],
    ),
    "a bell": ("app: hello", "app: hello\nowner: \a", ["3:8: the character U+0007 is not taken; remove it"]),
}
