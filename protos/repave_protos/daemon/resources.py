"""What a daemon needs of its machine: looked for at the start, so that it runs or says why it can't."""

import resource
import threading

THREADS = 24
"""More than gRPC, the store and the helpers of asyncio start (10 were counted on 2 cores)."""


class ResourceError(OSError):
    """The machine gives this process too little. The text says of what."""


def descriptors() -> int:
    """How many files and connections this process may have open, after asking for as many as are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def require_threads(count: int = THREADS) -> None:
    """gRPC tries for ten seconds to start a thread, then aborts without a reason. Raises ResourceError."""
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise ResourceError(
            f"this process may start only {len(started)} threads and needs {count}: allow it more memory "
            "(ulimit -v) or more tasks (ulimit -u, TasksMax= of its unit)"
        ) from error
    finally:
        done.set()
        for thread in started:
            thread.join()
