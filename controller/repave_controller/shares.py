"""How the traffic of a region is split at each point of a rollout. Pure."""

from repave_controller.model import Application, Phase, Weight
from repave_protos.values import FULL_WEIGHT_BP, RegionName


def weights_in(application: Application, region: RegionName) -> dict[int, int]:
    """Basis points by group number in this region; empty before anybody serves there."""
    rollout = application.running
    if rollout is None or not rollout.has_reached(Weight) or rollout.phase is Phase.UNDOING:
        wanted = {application.serving: FULL_WEIGHT_BP}
    else:
        reached = [each for each in rollout.steps[: rollout.cursor + 1] if isinstance(each, Weight)]
        share_bp = reached[-1].weight_bp
        wanted = {rollout.target: share_bp, rollout.origin: FULL_WEIGHT_BP - share_bp}
    present = {}
    for number, weight_bp in wanted.items():
        group = application.group(number)
        if group is not None and weight_bp > 0 and group.size(region) > 0:
            present[int(group.number)] = weight_bp
    # A region that has only one of the two groups gives it everything.
    return {next(iter(present)): FULL_WEIGHT_BP} if len(present) == 1 else present
