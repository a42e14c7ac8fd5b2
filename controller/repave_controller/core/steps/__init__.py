"""The kinds of steps that a rollout can take a region through: each registers itself when it is imported."""

from repave_controller.core.steps.analyse import Analyse as Analyse
from repave_controller.core.steps.approve import Approve as Approve
from repave_controller.core.steps.baseline import Baseline as Baseline
from repave_controller.core.steps.keep import Keep as Keep
from repave_controller.core.steps.retire import Retire as Retire
from repave_controller.core.steps.scale import Scale as Scale
from repave_controller.core.steps.soak import Soak as Soak
from repave_controller.core.steps.verify import Verify as Verify
from repave_controller.core.steps.weight import Weight as Weight
