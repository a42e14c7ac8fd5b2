"""Recovery of a controller whose store was restored or lost."""

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.requests import body_of
from repave_controller.api.web.responses import answer
from repave_controller.operations.recovery import Recovery

REFUSES = (
    "recovery-changed",
    "other-controllers",
    "regions-disagree",
    "unknown-group",
    "unknown-application",
)


class RecoveryRoutes:
    """One for an API."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "POST",
                "recovery",
                self.recover,
                models.RecoveryAnswer,
                models.RecoveryRequest,
                refuses=REFUSES,
            ),
        )

    async def recover(self, request: web.Request) -> web.Response:
        """Adopt what regions run that are ahead of a store which was restored or lost."""
        asked = await body_of(request, models.RecoveryRequest)
        if asked.dry_run:
            return answer(views.recovery_answer(await self._recovery.look(asked.application, asked.serving)))
        found = await self._recovery.adopt(asked.application, asked.serving, asked.by, asked.id)
        return answer(views.recovery_answer(found))
