"""The provider whose hosts are machines of a pool, reached over SSH: what it is called and takes."""

from repave_agent.kinds import Command, CommandLine, OwnedProvider, ProviderKind, Site
from repave_agent.providers.ssh_pool.options import POOL_USAGE, SshPoolOptions
from repave_protos.protocol.capabilities import ProviderAbilities


def _build(options: SshPoolOptions, site: Site) -> OwnedProvider:
    # Only where there is a pool: asyncssh is an extra, and takes a third of a second to import.
    from repave_agent.clients.ssh_identity import Identity
    from repave_agent.providers.ssh_pool.inventory import Inventory
    from repave_agent.providers.ssh_pool.leases import Leases
    from repave_agent.providers.ssh_pool.machines import Access, Machines
    from repave_agent.providers.ssh_pool.provider import SshPoolProvider

    access = Access(
        options.user,
        Identity("ssh_pool", options.key_file, options.passphrase_file, options.identity_agent),
        options.port,
        options.known_hosts,
        options.host_keys == "first-use",
        root=options.root,
        sudo=options.sudo,
        config=options.config,
        jump=options.jump,
        jump_host_key=options.jump_host_key,
    )
    machines = Machines(Inventory(options.inventory), access, Leases(site.settings.state / "pool"))
    return SshPoolProvider(
        site.region,
        site.installation,
        machines,
        options.reset,
        clock=site.clock,
        parallel=options.parallel,
        unreachable_seconds=options.unreachable_seconds,
        stop_grace_seconds=options.stop_grace_seconds,
    )


def _pool(options: SshPoolOptions, site: Site, line: CommandLine) -> str:
    from repave_agent.providers.ssh_pool.pool import pool_command  # only for this command

    return pool_command(options, site, line)


PROVIDER = ProviderKind(
    "ssh_pool",
    SshPoolOptions,
    _build,
    {"pool": Command(POOL_USAGE, "only ssh_pool has a pool of machines", _pool)},
    ProviderAbilities(takes_secrets=True, runs_jobs=True),
)
