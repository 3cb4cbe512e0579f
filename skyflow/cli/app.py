"""The commands and their flags. What they do is in the modules beside this one, imported when a command runs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from skyflow.cli.options import TaskOptions, later, with_task_options

app = typer.Typer(
    name="skyflow",
    help="Launch machine-learning tasks on the cheapest place that can run them. Every launch is a durable workflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
server = typer.Typer(help="The background server of this machine.", no_args_is_help=True)
worker = typer.Typer(help="Workers.", no_args_is_help=True)
local = typer.Typer(
    help="The laboratory: what the local cloud has and refuses, and accidents on purpose.", no_args_is_help=True
)
app.add_typer(server, name="server")
app.add_typer(worker, name="worker")
app.add_typer(local, name="local")
catalog = typer.Typer(help="What the clouds have, and at which price.", no_args_is_help=True)
gpus = typer.Typer(help="Accelerators.", no_args_is_help=True)
app.add_typer(catalog, name="catalog")
app.add_typer(gpus, name="gpus")


def cluster_names(incomplete: str) -> list[str]:
    """For the shell: the clusters that there are."""
    from skyflow.cli.complete import cluster_names

    return cluster_names(incomplete)


Entrypoint = Annotated[list[str], typer.Argument(help="A task YAML, or a shell command.", show_default=False)]
Cluster = Annotated[str, typer.Argument(help="Name of the cluster.", show_default=False, autocompletion=cluster_names)]
Clusters = Annotated[
    list[str] | None,
    typer.Argument(help="Only these; * stands for others.", show_default=False, autocompletion=cluster_names),
]
Dryrun = Annotated[bool, typer.Option("--dryrun", help="Show the plan; make nothing.")]
Every = Annotated[bool, typer.Option("--all", "-a", help="All clusters.")]
IdleMinutes = Annotated[
    int | None,
    typer.Option(
        "--idle-minutes-to-autostop", "-i", help="Stop it after so many idle minutes (with --down: delete it)."
    ),
]
WaitFor = Annotated[
    Literal["jobs_and_ssh", "jobs", "none"] | None,
    typer.Option(
        "--wait-for",
        help="What keeps it from being idle; jobs_and_ssh if not given, none: nothing.",
        case_sensitive=False,
    ),
]
RetryUntilUp = Annotated[bool, typer.Option("--retry-until-up", "-r", help="Wait until some place can give the nodes.")]
DetachRun = Annotated[bool, typer.Option("--detach-run", "-d", help="Return when the job is queued.")]
StartOnly = Annotated[bool, typer.Option("--async/--no-async", help="Return as soon as it is started.")]
Down = Annotated[bool, typer.Option("--down", help="Take the nodes down when the job has ended.")]
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="How listings are printed.")]
Region = Annotated[str | None, typer.Option("--region", help="Only in this region.")]
Zone = Annotated[str | None, typer.Option("--zone", help="Only in this zone.")]
OnlyType = Annotated[str | None, typer.Option("--instance-type", "-t", help="Only this instance type.")]
Spot = Annotated[bool | None, typer.Option("--spot/--on-demand", help="Only spot, or only on-demand.")]
Ranks = Annotated[list[int] | None, typer.Argument(help="Ranks of the nodes; all if none.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]
AllUsers = Annotated[bool, typer.Option("--all-users", "-u", help="The same as --all: clusters have no owners.")]
EverybodysToo = Annotated[bool, typer.Option("--all-users", "-u", help="Everybody's; they always are shown.")]
Graceful = Annotated[bool, typer.Option("--graceful", help="Give jobs longer to end by themselves, after SIGTERM.")]
GracefulTimeout = Annotated[
    int | None,
    typer.Option("--graceful-timeout", help="With --graceful: how long, in seconds; 600 if not given.", min=0),
]


@app.command()
@with_task_options
def launch(
    entrypoint: Entrypoint,
    task: TaskOptions,
    cluster: Annotated[str | None, typer.Option("--cluster", "-c", help="Cluster to use or make.")] = None,
    dryrun: Dryrun = False,
    detach_run: DetachRun = False,
    start_only: StartOnly = False,
    no_setup: Annotated[bool, typer.Option("--no-setup", help="Skip setup.")] = False,
    retry_until_up: RetryUntilUp = False,
    down: Down = False,
    idle_minutes: IdleMinutes = None,
    output: Output = "table",
    yes: Yes = False,
    wait_for: WaitFor = None,
    clone_disk_from: Annotated[str | None, later("--clone-disk-from", "--clone")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Skip setup if the cluster is up already.")] = False,
    resize: Annotated[bool, later("--resize")] = False,
    workspace: Annotated[str | None, later("--workspace", "-w")] = None,
) -> None:
    """Find a place, make the nodes, sync, set up, run; stream the output."""
    from skyflow.cli.launch import launch

    launch(
        entrypoint,
        task,
        cluster,
        output,
        start_only,
        dryrun=dryrun,
        detach_run=detach_run,
        no_setup=no_setup,
        fast=fast,
        retry_until_up=retry_until_up,
        down=down,
        idle_minutes_to_autostop=idle_minutes,
        wait_for=wait_for,
    )


@app.command("exec")
@with_task_options
def exec_(
    cluster: Cluster,
    entrypoint: Entrypoint,
    task: TaskOptions,
    dryrun: Dryrun = False,
    detach_run: DetachRun = False,
    start_only: StartOnly = False,
    down: Down = False,
) -> None:
    """Run a task on a cluster that is up: sync the workdir, run. No setup."""
    from skyflow.cli.launch import execute

    execute(entrypoint, task, cluster, start_only, dryrun=dryrun, detach_run=detach_run, down=down)


@app.command()
@with_task_options
def optimize(
    entrypoint: Entrypoint,
    task: TaskOptions,
    target: Annotated[
        Literal["cost", "time"] | None, typer.Option("--minimize", help="What is best: the cheapest, or the fastest.")
    ] = None,
    clouds: Annotated[
        list[str], typer.Option("--cloud", help="Plan with these clouds, enabled or not. Repeatable.")
    ] = [],  # noqa: B006  typer reads it as «none given» and never changes it
    output: Output = "table",
) -> None:
    """Plan a task, or a pipeline of them, from the catalogs; make nothing, ask no cloud."""
    from skyflow.cli.plan import optimize

    optimize(entrypoint, task, target, clouds, output)


@app.command()
def check(
    clouds: Annotated[list[str] | None, typer.Argument(help="Only these.", show_default=False)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More columns.")] = False,
    output: Output = "table",
) -> None:
    """Which clouds can be used from here, as whom, and what to do about the others."""
    from skyflow.cli.check import check

    check(clouds or [], verbose, output)


@app.command()
def status(
    clusters: Clusters = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More columns.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", "-r", help="Ask the clouds first.")] = False,
    ip: Annotated[bool, typer.Option("--ip", help="Print the address of the head node of one cluster.")] = False,
    endpoint: Annotated[
        int | None, typer.Option("--endpoint", help="Print where this port of one cluster is reached.", metavar="PORT")
    ] = None,
    endpoints: Annotated[bool, typer.Option("--endpoints", help="The same for all ports that it has open.")] = False,
    all_users: EverybodysToo = False,
    output: Output = "table",
) -> None:
    """The clusters and their state."""
    from skyflow.cli.cluster import show_endpoints, status

    if endpoint is not None or endpoints:
        show_endpoints(clusters, output, endpoint)
    else:
        status(clusters, output, verbose, ip, refresh)


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def ssh(
    cluster: Cluster,
    command: Annotated[list[str] | None, typer.Argument(help="A shell, if none.", show_default=False)] = None,
    rank: Annotated[int, typer.Option("--worker", "-w", help="The node of this rank; 0 is the head.")] = 0,
) -> None:
    """Open a shell on a node, or run a command there, by OpenSSH's ssh."""
    from skyflow.cli.ssh import rank_of, ssh

    given, words = rank_of(command or [])
    ssh(cluster, rank if given is None else given, words)


@app.command()
def cp(
    sources: Annotated[list[str], typer.Argument(help="Paths here, or CLUSTER:PATH.", show_default=False)],
    destination: Annotated[str, typer.Argument(help="The other side.", show_default=False)],
) -> None:
    """Copy files and folders to or from a node: CLUSTER:PATH, or CLUSTER-worker1:PATH."""
    from skyflow.cli.ssh import copy

    copy(sources, destination)


@app.command()
def queue(
    clusters: Clusters = None,
    skip_finished: Annotated[bool, typer.Option("--skip-finished", "-s", help="Only what has not ended.")] = False,
    all_users: EverybodysToo = False,
    output: Output = "table",
) -> None:
    """The jobs of clusters."""
    from skyflow.cli.cluster import queue

    queue(clusters, output, skip_finished)


@app.command()
def logs(
    cluster: Cluster,
    job_ids: Annotated[list[int] | None, typer.Argument(help="The job; the latest if not given.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until the job ends.")] = True,
    tail: Annotated[int, typer.Option("--tail", help="Begin with so many lines; 0 is all.", metavar="N")] = 0,
    rank: Annotated[int | None, typer.Option("--worker", "-w", help="Only this rank, as it is.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Only say how the job is, also by the exit code.")] = False,
    provision: Annotated[bool, typer.Option("--provision", help="How the nodes were found.")] = False,
    sync_down: Annotated[bool, typer.Option("--sync-down", "-s", help="Copy the logs to ~/sky_logs.")] = False,
) -> None:
    """The output of a job, also after its cluster is gone."""
    from skyflow.cli import logs

    modes = {"--provision": provision, "--status": status, "--sync-down": sync_down}
    logs.check_flags(modes, tail=tail, rank=rank, job_ids=job_ids or [])
    if provision:
        logs.provision(cluster)
    elif status:
        logs.status(cluster, job_ids or [])
    elif sync_down:
        logs.sync_down(cluster, job_ids or [])
    else:
        logs.logs(cluster, job_ids or [], follow=follow, tail=tail, rank=rank)


@app.command()
def events(cluster: Cluster, output: Output = "table") -> None:
    """What happened to a cluster, in order, also when it is gone."""
    from skyflow.cli.cluster import events

    events(cluster, output)


@app.command("cost-report")
def cost_report(
    clusters: Clusters = None,
    jobs: Annotated[bool, typer.Option("--jobs", help="A line for each job.")] = False,
    every: Annotated[bool, typer.Option("--all", "-a", help="All that the ledger knows.")] = False,
    days: Annotated[int, typer.Option("--days", min=1, help="What was up within so many days.")] = 30,
    output: Output = "table",
) -> None:
    """What the clusters, or their jobs, have cost, also those that are gone."""
    from skyflow.cli.cluster import cost_report

    cost_report(clusters, None if every else days, output, jobs)


@app.command()
def cancel(
    cluster: Cluster,
    job_ids: Annotated[list[int] | None, typer.Argument(help="The jobs.", show_default=False)] = None,
    all_jobs: Annotated[bool, typer.Option("--all", "-a", help="All jobs of the cluster.")] = False,
    all_users: Annotated[bool, typer.Option("--all-users", "-u", help="The same as --all.")] = False,
    yes: Yes = False,
) -> None:
    """Cancel jobs."""
    from skyflow.cli.cluster import cancel

    cancel(cluster, job_ids, all_jobs or all_users)


@app.command()
def stop(
    clusters: Clusters = None,
    every: Every = False,
    all_users: AllUsers = False,
    yes: Yes = False,
    graceful: Graceful = False,
    graceful_timeout: GracefulTimeout = None,
) -> None:
    """Stop the nodes of clusters. Their disks and the jobs that wait are kept."""
    from skyflow.cli.cluster import stop

    stop(clusters, every or all_users, yes, graceful, graceful_timeout)


@app.command()
def start(
    clusters: Clusters = None,
    every: Every = False,
    yes: Yes = False,
    idle_minutes: IdleMinutes = None,
    down: Annotated[bool, typer.Option("--down", help="With idle minutes: then take it down instead.")] = False,
    retry_until_up: RetryUntilUp = False,
    wait_for: WaitFor = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Also what seems to be up: start the nodes that do not run.")
    ] = False,
) -> None:
    """Start stopped clusters, where they were; make anew the nodes that clusters have lost."""
    from skyflow.cli.cluster import start

    start(clusters, every, yes, idle_minutes, down, retry_until_up, wait_for, force)


@app.command()
def autostop(
    clusters: Clusters = None,
    every: Every = False,
    all_users: AllUsers = False,
    idle_minutes: Annotated[
        int | None, typer.Option("--idle-minutes", "-i", help="How long it must have been idle; 5 if not given.")
    ] = None,
    down: Annotated[bool, typer.Option("--down", help="Take it down instead of stopping it.")] = False,
    down_after: Annotated[
        str | None,
        typer.Option("--down-after", help="Take it down when it has been stopped for so long: minutes, 24h, 7d."),
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="No idle rule any more.")] = False,
    yes: Yes = False,
    wait_for: WaitFor = None,
) -> None:
    """Stop clusters, or take them down, when they have been idle for long enough."""
    from skyflow.cli.cluster import autostop

    autostop(clusters, every or all_users, yes, idle_minutes, cancel, down, wait_for, down_after)


@app.command()
def down(
    clusters: Clusters = None,
    every: Every = False,
    all_users: AllUsers = False,
    yes: Yes = False,
    purge: Annotated[
        bool, typer.Option("--purge", "-p", help="Forget them also if their cloud does not delete the nodes.")
    ] = False,
    graceful: Graceful = False,
    graceful_timeout: GracefulTimeout = None,
) -> None:
    """Delete the nodes of clusters."""
    from skyflow.cli.cluster import down

    down(clusters, every or all_users, yes, purge, graceful, graceful_timeout)


@app.command()
def adopt(
    deployment: Annotated[
        str | None, typer.Option("--deployment", help="Only what belonged to this one.", metavar="ID")
    ] = None,
    yes: Yes = False,
    output: Output = "table",
) -> None:
    """Take over clusters whose Temporal was lost, with their nodes and jobs."""
    from skyflow.cli.adopt import adopt

    adopt(deployment, yes, output)


@server.command("start")
def server_start() -> None:
    """Start it, if it does not run."""
    from skyflow.cli.server import start

    start()


@server.command("stop")
def server_stop() -> None:
    """Stop it. Workflows go on when it is started again; nodes and their jobs go on meanwhile."""
    from skyflow.cli.server import stop

    stop()


@server.command("status")
def server_status(output: Output = "table") -> None:
    """Whether it runs, and where."""
    from skyflow.cli.server import status

    status(output)


@server.command("logs")
def server_logs() -> None:
    """Print its logs."""
    from skyflow.cli.server import logs

    logs()


@server.command("setup")
def server_setup(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, with this client's rights.")] = False,
) -> None:
    """What an admin may add to a Temporal of your own: search attributes. Nothing needs them."""
    from skyflow.cli.server import setup

    setup(apply)


@worker.command("run")
def worker_run() -> None:
    """Run a worker in the foreground. SIGTERM drains it."""
    from skyflow.cli.server import run_worker

    run_worker()


@local.command("show")
def local_show(output: Output = "table") -> None:
    """Places, sizes, prices, and the rules in force."""
    from skyflow.cli.local import show

    show(output)


@local.command("nodes")
def local_nodes(output: Output = "table") -> None:
    """The nodes that exist on this machine."""
    from skyflow.cli.local import nodes

    nodes(output)


@local.command("zones")
def local_zones(
    region: Annotated[str, typer.Argument(help="Name of the region.", show_default=False)],
    zones: Annotated[list[str] | None, typer.Argument(help="Its zones.", show_default=False)] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the region.")] = False,
) -> None:
    """Set the zones of a region, which is made if there is none."""
    from skyflow.cli.local import zones as set_zones

    set_zones(region, zones or [], remove)


@local.command("type")
def local_type(
    name: Annotated[str, typer.Argument(help="Name of the instance type.", show_default=False)],
    cpus: Annotated[float | None, typer.Option("--cpus")] = None,
    memory: Annotated[float | None, typer.Option("--memory", help="GiB.")] = None,
    gpus: Annotated[str | None, typer.Option("--gpus", help="A100:8, in name only.")] = None,
    price: Annotated[float | None, typer.Option("--price", help="US dollars an hour.")] = None,
    spot_price: Annotated[float | None, typer.Option("--spot-price", help="US dollars an hour.")] = None,
    spot: Annotated[bool, typer.Option("--spot/--no-spot", help="Whether it is to be had as spot.")] = True,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it.")] = False,
) -> None:
    """Add or change a size of node. A label, not a limit."""
    from skyflow.cli.local import instance_type

    values = {"cpus": cpus, "memory": memory, "accelerators": gpus, "price": price, "spot_price": spot_price}
    instance_type(name, values, spot, remove)


@local.command("capacity")
def local_capacity(
    nodes: Annotated[int, typer.Argument(help="How many nodes can exist there at once.", show_default=False)],
    region: Region = None,
    zone: Zone = None,
    instance_type: OnlyType = None,
    spot: Spot = None,
) -> None:
    """Limit how many nodes there can be."""
    from skyflow.cli.local import capacity

    capacity(nodes, {"region": region, "zone": zone, "instance_type": instance_type, "use_spot": spot})


@local.command("quota")
def local_quota(
    region: Annotated[str, typer.Argument(show_default=False)],
    nodes: Annotated[int, typer.Argument(show_default=False)],
) -> None:
    """Limit how many nodes you may have in a region."""
    from skyflow.cli.local import quota

    quota(region, nodes)


@local.command("stockout")
def local_stockout(
    region: Region = None,
    zone: Zone = None,
    instance_type: OnlyType = None,
    spot: Spot = None,
    times: Annotated[int | None, typer.Option("--times", help="Only so often; always if not given.")] = None,
) -> None:
    """Refuse nodes: there are none left."""
    from skyflow.cli.local import stockout

    stockout(times, {"region": region, "zone": zone, "instance_type": instance_type, "use_spot": spot})


@local.command("slow")
def local_slow(
    seconds: Annotated[float, typer.Argument(show_default=False)],
    region: Region = None,
    zone: Zone = None,
    instance_type: OnlyType = None,
    spot: Spot = None,
) -> None:
    """Let nodes take so long to start."""
    from skyflow.cli.local import slow

    slow(seconds, {"region": region, "zone": zone, "instance_type": instance_type, "use_spot": spot})


@local.command("clear")
def local_clear(
    everything: Annotated[bool, typer.Option("--all", help="Also the regions and instance types.")] = False,
) -> None:
    """Take the rules back."""
    from skyflow.cli.local import clear

    clear(everything)


def _accident(what: str, help: str) -> None:
    @local.command(what, help=help)
    def command(cluster: Cluster, ranks: Ranks = None) -> None:
        from skyflow.cli.local import accident

        accident(what, cluster, ranks or [])


_accident("preempt", "Take nodes away, as a cloud takes spot nodes.")
_accident("stop", "Stop nodes behind skyflow's back, as one can in a cloud's console; their disks stay.")
_accident("freeze", "Stop everything on nodes; the cloud says that they are well.")
_accident("thaw", "Let frozen nodes go on.")
_accident("cut", "Cut the network of nodes; their jobs go on.")
_accident("restore", "Give nodes their network back.")


@catalog.command("show")
def catalog_show(output: Output = "table") -> None:
    """Where the prices come from, and how old they are."""
    from skyflow.cli.catalog import show

    show(output)


@catalog.command("refresh")
def catalog_refresh(
    clouds: Annotated[
        list[str] | None, typer.Argument(help="aws, gcp; all that can be read if none.", show_default=False)
    ] = None,
) -> None:
    """Read prices from the clouds' own price lists, with your credentials."""
    from skyflow.cli.catalog import refresh

    refresh(clouds or [])


@app.command("show-gpus", hidden=True)
@gpus.command("list")
def gpus_list(
    name: Annotated[str | None, typer.Argument(help="Such as A100 or A100:8.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Every kind, TPUs too.")] = False,
    infra: Annotated[str | None, typer.Option("--infra", help="Only there: CLOUD, or CLOUD/REGION.")] = None,
    all_regions: Annotated[bool, typer.Option("--all-regions", help="A line for each region.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More columns.")] = False,
    output: Output = "table",
) -> None:
    """The accelerators that there are, and what nodes with them cost. Needs no account."""
    from skyflow.cli.catalog import list_gpus

    list_gpus(name, everything, infra, all_regions, verbose, output)
