"""What cloud-init makes of the operator's own user data beside repave's: one text in several parts.

cloud-init runs scripts in the order of their names: repave's comes after the operator's, and after the
commands (`runcmd`) of a #cloud-config.
"""

import hashlib
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

SCRIPT = "x-shellscript"
KINDS = (
    ("#cloud-config-archive", "cloud-config-archive"),
    ("#cloud-config", "cloud-config"),
    ("#cloud-boothook", "cloud-boothook"),
    ("#include-once", "x-include-once-url"),
    ("#include", "x-include-url"),
    ("## template: jinja", "jinja2"),
    ("#!", SCRIPT),
)
"""How a text begins, the longer beginning first, and what it is to cloud-init."""
FIRST, LAST = "operator", "zz-repave.sh"


def kind_of(text: str) -> str:
    """Raises ValueError, which says how such a text begins."""
    for beginning, kind in KINDS:
        if text.startswith(beginning):
            return kind
    line = text.partition("\n")[0][:60]
    raise ValueError(f"its first line is {line!r}: begin it with #cloud-config or, for a script, with #!")


def merged(script: str, own: str) -> str:
    """User data with repave's script and the operator's text; the script alone where that is empty."""
    if not own:
        return script
    unlike = hashlib.sha256(f"{own}{script}".encode()).hexdigest()[:16]
    whole = MIMEMultipart(boundary=f"=={unlike}==")
    for text, kind, name in ((own, kind_of(own), FIRST), (script, SCRIPT, LAST)):
        part = MIMEText(text, kind, "us-ascii" if text.isascii() else "utf-8")
        part.add_header("Content-Disposition", "attachment", filename=name)
        whole.attach(part)
    return whole.as_string()
