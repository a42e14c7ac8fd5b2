"""Specs as users write them: the smallest one, and one with every option of this version."""

from repave_protos.protocol.values import Digest

DIGEST = Digest("a" * 64)

SMALLEST = """\
repave: 1
app: hello
artifact: {uri: ./app}
host: {image: local, run: python3 -m http.server $PORT --bind $HOST}
health: {http: {port: 8080, path: /}}
traffic: {frontend: hello, port: 8000}
regions: [{name: local, provider: local, size: 3}]
strategy: {blue_green: {}}
"""

EVERY_OPTION = f"""\
repave: 1
app: web
stack: prod
owner: team web
artifact:
  uri: ./build/{{app}}-{{version}}.tar.gz
  sha256: {DIGEST}
host:
  image: local
  run: [./serve, --port, $PORT, --version, "{{version}}"]
  env: {{LOG_LEVEL: info, RELEASE: "{{app}} {{version}}", BRACES: "{{}} {{other}}"}}
health:
  command: {{port: 8080, run: ./check --quick}}
  interval: 500ms
  timeout: 400ms
  healthy_after: 3
  unhealthy_after: 4
  min_healthy_time: 1m
  launch_deadline: 10m
  ready_percent: 99.5%
  heal_within: 3m
  launch_failures: 7
traffic:
  balancer: haproxy
  frontend: web-front
  port: 443
  split: cookie
  cookie: uid
  testers: {{header: X-Tester, value: let-me-in}}
  drain: 45s
regions:
  - {{name: eu-north, provider: local, size: 4}}
  - {{name: eu-west, provider: local, size: 1000}}
strategy:
  blue_green: {{warm: 2h}}
rollback:
  on: [deadline, health]
  scope: release
  keep: {{groups: 3, for: 7d, retain: 2}}
guards:
  min_capacity: 90%
windows:
  - {{days: [mon-thu, sat], from: "22:00", to: "04:00", zone: Europe/Berlin}}
  - {{cron: 0 9 * * mon-fri, for: 7h}}
freezes:
  - {{from: 2026-12-20, to: 2027-01-03T12:00, zone: Europe/Berlin, reason: holidays}}
"""
