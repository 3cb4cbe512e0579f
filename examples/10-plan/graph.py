"""A graph of tasks from Python, planned by cost and by time. Needs no account, asks no cloud, makes nothing.

python examples/10-plan/graph.py
"""

import skyflow as sky

HOURS = {"A100": 10.0, "H100": 4.5, "L4": 60.0}
"""What one training took on eight of each."""


def main() -> None:
    with sky.Dag(name="two-models") as dag:
        prepare = sky.Task("prepare", run="python prepare.py", resources=sky.Resources(cpus="16+"))
        prepare.set_outputs("s3://tokens", estimated_size_gigabytes=200)
        small, large = (
            sky.Task(name, run="python train.py").set_resources(
                {sky.Resources(accelerators=f"{kind}:8") for kind in HOURS}
            )
            for name in ("small", "large")
        )
        for train in (small, large):
            train.set_outputs(f"s3://{train.name}", estimated_size_gigabytes=30)
            train.set_time_estimator(lambda resources: 3600 * HOURS[next(iter(resources.accelerators))])
        compare = sky.Task("compare", run="python compare.py", resources=sky.Resources(cpus="4+"))
        prepare >> small >> compare
        prepare >> large >> compare
    for target in (sky.OptimizeTarget.COST, sky.OptimizeTarget.TIME):
        print(f"{target.name}:")
        sky.optimize(dag, minimize=target, enabled_clouds=["aws", "gcp"])
        print("large runs on", large.best_resources.instance_type, end="\n\n")


if __name__ == "__main__":
    main()
