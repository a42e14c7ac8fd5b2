"""Whether the login may make servers: asked when the agent starts, not found out by the first launch."""

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import NotActingError, ProviderError, RefusedError

NOTHING = "repave-asks-whether-it-may"
"""No flavor has this id. Nova looks at rights first, and refuses the server for its flavor then."""
BODY = {"server": {"name": NOTHING, "flavorRef": NOTHING, "imageRef": "", "networks": "none"}}


async def check_rights(api: Api) -> None:
    """Asks for a server that can't be. Raises RefusedError where the login may only look; other troubles of
    the cloud are told by those calls that need it. An agent that stands by can't ask."""
    try:
        await api.call("compute", "POST", "/servers", BODY)
    except (NotActingError, GoneError):
        return
    except RefusedError as error:
        if ": 403: " not in str(error):
            return
        roles = ", ".join(api.roles) or "none"
        raise RefusedError(
            f"the login of the cloud may not make servers (its roles in project {api.project_id}: {roles}): "
            f"{error} Give the user, or the application credential, the role member in this project"
        ) from error
    except ProviderError:
        return
