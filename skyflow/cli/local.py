"""`skyflow local`: the laboratory. What the local cloud has, what it refuses, and accidents on purpose."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from skyflow.cli import view
from skyflow.clouds.local.faults import Faults
from skyflow.clouds.local.folder import Folder
from skyflow.clouds.local.lab import Capacity, InstanceType, LabConfig, Quota, Rule, SlowStart, Stockout, checked
from skyflow.errors import UsageError
from skyflow.settings import Settings

RULES = ("capacity", "quotas", "stockouts", "slow_starts")


def show(output: str) -> None:
    """Prints the places, the sizes, which are to be had in all of them, and the rules that are in force."""
    lab = _load(Settings.load())
    regions, types = lab.effective_regions(), lab.effective_types()
    rules = {name: [rule.model_dump(exclude_defaults=True) for rule in getattr(lab, name)] for name in RULES}
    if output == "json":
        sizes = [one.model_dump() for one in types]
        view.as_json({"regions": regions, "instance_types": sizes, "rules": rules})
        return
    view.table(["REGION", "ZONES"], [[region, ", ".join(zones)] for region, zones in regions.items()])
    print()
    view.table(
        ["INSTANCE TYPE", "ACCELERATORS", "CPUS", "GiB", "$/h", "SPOT $/h"],
        [
            [
                one.name,
                one.accelerators or "-",
                f"{one.cpus:g}",
                f"{one.memory:g}",
                view.dollars(one.price),
                view.dollars(one.spot_price),
            ]
            for one in types
        ],
    )
    rows = [[name, _words(rule)] for name, found in rules.items() for rule in found]
    if rows:
        print()
        view.table(["RULE", "ABOUT"], rows)


def _words(rule: dict[str, Any]) -> str:
    return "  ".join(f"{name}={value}" for name, value in rule.items() if name != "id")


def nodes(output: str) -> None:
    """Prints the nodes that exist on this machine."""
    faults = Faults(Settings.load())
    found = [
        {
            "cluster": node.cluster,
            "rank": node.rank,
            "zone": node.zone,
            "instance_type": node.instance_type,
            "use_spot": node.use_spot,
            "address": f"{node.address}:{node.port}",
            "state": faults.state(node),
            "id": node.id,
        }
        for node in faults.nodes()
    ]
    if output == "json":
        view.as_json(found)
    elif found:
        rows = [
            [str(value) for value in {**node, "use_spot": "spot" if node["use_spot"] else ""}.values()]
            for node in found
        ]
        view.table(["CLUSTER", "RANK", "ZONE", "INSTANCE TYPE", "", "ADDRESS", "STATE", "ID"], rows)
    else:
        view.say("No local nodes. Make one: skyflow launch -c dev --infra local 'echo hello'")


def zones(region: str, names: list[str], remove: bool) -> None:
    """Sets the zones of a region, or removes the region."""
    if not remove and not names:
        raise UsageError(f"Say the zones of {region}: skyflow local zones {region} {region}-a {region}-b")

    def change(lab: LabConfig) -> None:
        regions = lab.effective_regions()
        if remove and regions.pop(region, None) is None:
            raise UsageError(f"There is no region {region!r}; there are: {', '.join(regions)}.")
        if remove and not regions:
            raise UsageError(f"{region!r} is the last region; add another one first.")
        lab.regions = regions if remove else {**regions, region: names}

    _change(change)


def instance_type(name: str, values: dict[str, Any], spot: bool, remove: bool) -> None:
    """Adds or changes a size of node, or removes it."""

    def change(lab: LabConfig) -> None:
        types = {one.name: one for one in lab.effective_types()}
        if remove:
            if types.pop(name, None) is None:
                raise UsageError(f"There is no instance type {name!r}; there are: {', '.join(types)}.")
            if not types:
                raise UsageError(f"{name!r} is the last instance type; add another one first.")
        else:
            known: dict[str, Any] = types[name].model_dump() if name in types else {"cpus": 1, "memory": 1}
            known |= {key: value for key, value in values.items() if value is not None}
            if not spot:
                known["spot_price"] = None
            types[name] = checked(InstanceType, {**known, "name": name})
        lab.instance_types = list(types.values())

    _change(change)


def capacity(count: int, where: dict[str, Any]) -> None:
    """So many nodes can exist there at the same time."""
    _add("capacity", checked(Capacity, {**where, "nodes": count}))


def quota(region: str, count: int) -> None:
    """So many nodes can exist in a region at the same time."""
    _add("quotas", checked(Quota, {"region": region, "nodes": count}))


def stockout(times: int | None, where: dict[str, Any]) -> None:
    """Nothing is to be had there. Each one that is set counts anew."""
    _add("stockouts", checked(Stockout, {**where, "count": times, "id": uuid.uuid4().hex[:8]}))


def slow(seconds: float, where: dict[str, Any]) -> None:
    """Nodes there take long to start."""
    _add("slow_starts", checked(SlowStart, {**where, "seconds": seconds}))


def clear(everything: bool) -> None:
    """Takes the rules back; with everything, places and sizes too."""

    def change(lab: LabConfig) -> None:
        for name in [*RULES, *(("regions", "instance_types") if everything else ())]:
            setattr(lab, name, type(getattr(lab, name))())

    _change(change)
    Folder(Settings.load().local_dir).stockouts.unlink(missing_ok=True)


def accident(what: str, cluster: str, ranks: list[int]) -> None:
    """`preempt`, `stop`, `freeze`, `thaw`, `cut` or `restore` nodes of a cluster: these, or all of them."""
    faults = Faults(Settings.load())
    chosen = faults.nodes(cluster, ranks)
    act: Callable[..., Coroutine[Any, Any, None] | None] = getattr(faults, what)
    if (acting := act(chosen)) is not None:
        asyncio.run(acting)
    done = {
        "preempt": "taken away",
        "stop": "stopped",
        "freeze": "frozen",
        "thaw": "thawed",
        "cut": "cut off",
        "restore": "reachable again",
    }
    view.say(f"Node(s) {', '.join(str(node.rank) for node in chosen)} of {cluster}: {done[what]}.")


def _load(settings: Settings) -> LabConfig:
    return LabConfig.load(Folder(settings.local_dir).config)


def _add(name: str, rule: Rule | Quota) -> None:
    """Adds a rule; one about the same nodes is replaced."""

    def change(lab: LabConfig) -> None:
        rules = getattr(lab, name)
        rules[:] = [other for other in rules if _about(other) != _about(rule)] + [rule]

    _change(change)


def _about(rule: Rule | Quota) -> Any:
    return rule.match() if isinstance(rule, Rule) else rule.region


def _change(change: Callable[[LabConfig], None]) -> None:
    settings = Settings.load()
    lab = _load(settings)
    change(lab)
    lab.check()
    lab.save(Folder(settings.local_dir).config)
    view.say("Done; it holds from the next request on. See: skyflow local show")
