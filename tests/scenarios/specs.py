"""Specs of the scenarios: one application, some regions, and what each scenario adds."""


def spec(strategy: str, regions: str = "", extra: str = "") -> str:
    """`regions` as `name:size, ...`."""
    places = [place.strip().split(":") for place in (regions or "paris:8, oslo:4").split(",")]
    listed = "\n".join(f"  - {{name: {name}, provider: local, size: {size}}}" for name, size in places)
    return f"""\
repave: 1
app: shop
artifact: {{uri: ./shop}}
host: {{image: local, run: ./shop}}
health: {{http: {{port: 8080, path: /}}, min_healthy_time: 5s, launch_deadline: 60s}}
traffic: {{port: 8000, drain: 5s}}
regions:
{listed}
strategy: {strategy}
{extra}"""
