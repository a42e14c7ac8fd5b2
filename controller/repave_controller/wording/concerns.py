"""What people read of that which is wrong with a controller or with the database, and what to do about it."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.reasons import Concern, Kind
from repave_controller.wording.phrases import Template, counted, some


def _copied_late(standbys: Sequence[str]) -> str:
    whom = "the standby" if len(standbys) == 1 else "the standbys"
    return (
        f"{whom} {some(standbys)} may be behind the primary: commands that were acknowledged may be lost "
        "when the database fails over"
    )


def _copies_unseen(standbys: int) -> str:
    are = "is" if standbys == 1 else "are"
    return (
        f"there {are} {counted(standbys, 'standby server')}, and this user may not see whether commits wait"
    )


TEXTS: Mapping[Kind, Template] = {
    Concern.FROZEN: "it renews its lease no more, though its session is there: it is stopped, or it hangs",
    Concern.AWAY: "its lease ended {seconds} s ago",
    Concern.LEASE_ONLY: "a pooler keeps no session for it: that it crashed is seen when its lease ends",
    Concern.OTHER_VERSION: "it runs {version}, the controller that was asked runs {own}",
    Concern.STORE_UNREACHABLE: "it decides nothing, for the store can't be reached: {text}",
    Concern.COPIED_LATE: _copied_late,
    Concern.COPIES_UNSEEN: _copies_unseen,
    Concern.NOT_ON_DISK: "{settings}: a crash of the database may lose commands that were acknowledged",
    Concern.DATABASE_CHANGED: "it was restored, moved or failed over: {before} became {now}",
}

REMEDIES: Mapping[Kind, Template] = {
    Concern.FROZEN: "see its log and its machine; the others decide for its applications by now",
    Concern.AWAY: "start it again; if it is gone for good it is forgotten after a week",
    Concern.LEASE_ONLY: "set store.direct_url to PostgreSQL itself, past the pooler",
    Concern.OTHER_VERSION: "bring all controllers to one version",
    Concern.STORE_UNREACHABLE: "hosts serve on, and it goes on by itself when the store is back",
    Concern.COPIED_LATE: "set synchronous_standby_names there, so that a commit waits for a standby",
    Concern.COPIES_UNSEEN: "GRANT pg_monitor TO its user, or set synchronous_standby_names there",
    Concern.NOT_ON_DISK: "set fsync and full_page_writes to on there",
    Concern.DATABASE_CHANGED: "see repave regions: to one that knows more than the database nothing is sent "
    "until repave controller recover",
}
