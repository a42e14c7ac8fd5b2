"""Writes docs/openapi.json anew: `python -m tests.support.openapi`. What differs is a change of the API."""

import json
from pathlib import Path

from repave_controller.api.app import Api
from repave_controller.api.web.openapi import document
from repave_protos import __version__

PUBLISHED = Path(__file__).parents[2] / "docs" / "openapi.json"


def main() -> None:
    table = Api(None, None, None, None, None).routes()  # type: ignore[arg-type]  # the table alone
    PUBLISHED.write_text(json.dumps(document(table, __version__), indent=1) + "\n")


if __name__ == "__main__":
    main()
