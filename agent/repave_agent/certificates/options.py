"""What an operator can set about certificates of fronts: where they are, and which ACME server gives some."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from repave_agent.secrets.options import Rules
from repave_protos.daemon.settings import Settings, Words

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise ValueError(f"write the https address of the server's directory, such as {LETS_ENCRYPT}")
    return url


def _mails(contacts: tuple[str, ...]) -> tuple[str, ...]:
    for each in contacts:
        if "@" not in each.strip("@") or ":" in each:
            raise ValueError(f"{each!r} is no mail address such as ops@example.com")
    return contacts


class AcmeOptions(Settings):
    """`server`: the address of its directory. Nothing is asked of it before `agrees_to_terms`. `contacts`:
    mail addresses for the account. `authority`: certificates to trust beside the public ones.

    `account_key`: a PEM file; one is made where none is named. Agents that serve the same names by http-01
    need the same. `names`: which applications may ask for, with * at either end; none: all that the server
    gives. `dns_seconds`: from a record to the question whether it is seen.

    `eab_key_id`, `eab_key_file`: of servers that only take accounts that they know.
    """

    server: Annotated[str, AfterValidator(_https)] = LETS_ENCRYPT
    agrees_to_terms: bool = False
    contacts: Annotated[Words, AfterValidator(_mails)] = ()
    authority: Path | None = None
    account_key: Path | None = None
    names: Words = ()
    dns_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    eab_key_id: str = ""
    eab_key_file: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> "AcmeOptions":
        if bool(self.eab_key_id) != (self.eab_key_file is not None):
            raise ValueError("eab_key_id and eab_key_file: set both, or none")
        return self


class CertificatesOptions(Settings):
    """Files and directories below `folder`, which no host sees. `allow`: which of them an application may
    name for its fronts. What is in Vault is read as [secrets.vault] says."""

    folder: Path = Path("/etc/repave/certificates")
    allow: Rules = ("{application}", "{application}.pem", "{application}/*")
    acme: AcmeOptions = AcmeOptions()

    @property
    def private(self) -> tuple[Path, ...]:
        """Files and folders of the agent's own that no host may see."""
        named = (self.folder, self.acme.account_key, self.acme.eab_key_file)
        return tuple(path for path in named if path is not None)
