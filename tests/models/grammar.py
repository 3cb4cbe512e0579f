"""Hypothesis strategies that walk the whole grammar of a task YAML: every field, and every form that one may have."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SECRET = "hunter2-{}"
"""Of what the values of secrets are made, so that a test can look for them."""

Config = dict[str, Any]


def mapping(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """A mapping in which each field may be absent."""
    return st.fixed_dictionaries({}, optional=fields)


def required(needed: dict[str, Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """A mapping in which some fields must be there."""
    return st.fixed_dictionaries(needed, optional=fields)


# Not NEL: PyYAML itself does not read back what it writes for it.
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\x85"), max_size=30)
SOME_TEXT = TEXT.filter(bool)
WORDS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
VARIABLES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
PATHS = st.from_regex(r"[~]?(/[a-zA-Z0-9 ._é-]{0,6}[a-z.é])+|[a-z.][a-z /]{0,8}[a-z.]", fullmatch=True)
TARGETS = PATHS.filter(lambda path: not path.startswith("~~"))
ABSOLUTE = st.from_regex(r"(~)?(/[a-z0-9._-]{1,6}){1,3}", fullmatch=True)
URIS = st.builds("{}://{}".format, st.sampled_from(["s3", "gs", "r2", "https", "cos", "hf"]), WORDS)
BOOLEANS = st.booleans()
COUNTS = st.integers(0, 1000)
SECONDS = st.integers(0, 10**6) | st.floats(0, 10**6)
AMOUNTS = st.builds(
    "{}{}".format,
    st.integers(1, 10**6) | st.floats(0.001, 1000).map(lambda number: f"{number:.4f}"),
    st.sampled_from("+ "),
)
SIZES = st.integers(1, 10**6) | st.sampled_from(["100", "10Gi", "1TB", "5k"])
JSON = st.recursive(
    st.none() | BOOLEANS | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SOME_TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(SOME_TEXT, JSON, max_size=3)

# Resources

INFRA = st.sampled_from(
    "* aws AWS/us-east-1 aws/*/us-east-1a gcp/us-central1/us-central1-a */us-east-1 */*/us-east-1a k8s k8s/* k8s/a/b:c "
    "kubernetes/my-context ssh/pool local slurm/cluster/gpu lambda/us nebius/eu-north1 oci runpod".split()
)
PLACES = (
    st.just({})
    | INFRA.map(lambda infra: {"infra": infra})
    | mapping(cloud=st.sampled_from(["aws", "GCP", "azure", "*"]), region=WORDS | st.just("*"), zone=WORDS)
    | required({"cloud": st.just("k8s")}, region=st.sampled_from(["arn:aws:eks:us-east-1:1:cluster/a", "b", "*"]))
)
GPU = st.sampled_from(
    "A100 a100-80gb H100 L4 l40s T4 V100 nvidia-tesla-v100 RTX6000-Ada MI300X Trainium2 Unheard-Of".split()
)
COUNT = st.integers(1, 16) | st.sampled_from([0.5, 0.25, "2", "0.5"])
ONE_GPU = (
    GPU
    | st.builds("{}:{}".format, GPU, COUNT)
    | st.sampled_from(["80GB", "80GB+", "24gb:2", "nvidia:80GB+:8", "amd:128GB+"])
    | st.dictionaries(GPU, COUNT | st.none(), min_size=1, max_size=1)
)
GPUS = (
    ONE_GPU
    | st.dictionaries(GPU | st.builds("{}:{}".format, GPU, st.integers(1, 8)), st.none(), min_size=1, max_size=3)
    | st.dictionaries(GPU, COUNT, min_size=1, max_size=3)
    | st.lists(ONE_GPU, min_size=1, max_size=3)
)
PORTS = st.integers(1, 65535)
PORT_FORMS = PORTS | st.sampled_from(["8080", "8000-8100", "80, 443,9000-9001", " 22 "])
IMAGES = st.sampled_from(["ami-0123", "skypilot:gpu-ubuntu-2004", "docker:nvcr.io/nvidia/pytorch:24.07-py3"])
AUTOSTOP = (
    BOOLEANS
    | st.integers(-1, 10**6)
    | st.sampled_from(["10", "5m", "2h", "1d", "1w"])
    | mapping(
        idle_minutes=COUNTS,
        down=BOOLEANS,
        wait_for=st.sampled_from(["jobs_and_ssh", "jobs", "none"]),
        hook=SOME_TEXT,
        hook_timeout=st.integers(1, 9999),
    )
    | mapping(idle_minutes=COUNTS, down_after=st.integers(0, 10**6) | st.sampled_from(["24h", "7d"]))
)
STRATEGIES = st.sampled_from(["FAILOVER", "failover", "EAGER_NEXT_REGION", "none"])
RECOVERY = STRATEGIES | mapping(
    strategy=STRATEGIES,
    max_restarts_on_errors=COUNTS,
    recover_on_exit_codes=st.integers(0, 255) | st.lists(st.integers(0, 255), max_size=3, unique=True),
)
HOOKS = st.lists(
    required(
        {"run": SOME_TEXT},
        events=st.lists(st.sampled_from(["stop", "preemption", "down"]), min_size=1, unique=True),
        timeout=st.integers(1, 9999),
    ),
    max_size=2,
)
LABELS = st.dictionaries(WORDS, TEXT, max_size=3)
TIERS = st.sampled_from(["low", "medium", "high", "ultra", "best", "HIGH", "none"])
DISKS = st.lists(
    required(
        {"path": SOME_TEXT, "name": SOME_TEXT},
        disk_size=SIZES,
        disk_tier=st.sampled_from(["low", "best"]),
        auto_delete=BOOLEANS,
        storage_type=st.sampled_from(["network", "instance"]),
        attach_mode=st.sampled_from(["read_write", "read_only"]),
    ),
    max_size=2,
)
PARTIAL: dict[str, st.SearchStrategy[Any]] = {
    "instance_type": st.sampled_from(["p3.2xlarge", "n1-standard-8", None]),
    "cpus": AMOUNTS | st.integers(1, 200) | st.floats(0.5, 8),
    "memory": AMOUNTS
    | AMOUNTS.map(lambda amount: amount.replace("+", "GB+"))
    | st.sampled_from(["4x", "2.5x+", "512MB"]),
    "use_spot": BOOLEANS | st.none(),
    "disk_size": st.integers(1, 10**5) | st.sampled_from(["1TB", "512GB", "256"]),
    "disk_tier": TIERS,
    "network_tier": st.sampled_from(["standard", "best"]),
    "ports": PORT_FORMS | st.lists(PORT_FORMS, max_size=4),
    "image_id": IMAGES | st.dictionaries(WORDS | st.just("docker"), IMAGES, min_size=1, max_size=2),
    "labels": LABELS,
    "max_hourly_cost": st.floats(0.01, 1000) | st.integers(1, 1000),
    "local_disk": st.sampled_from(["nvme:1000+", "ssd:500", "nvme", "300+"]),
    "priority": st.integers(-1000, 1000),
    "priority_class": SOME_TEXT.filter(str.strip),
    "arch": st.sampled_from(["x86_64", "arm64"]),
    "accelerator_args": mapping(tpu_vm=BOOLEANS, runtime_version=TEXT, tpu_name=TEXT, gcp_queued_resource=BOOLEANS),
    "volumes": DISKS,
}


def one_of_two(names: tuple[str, str], value: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    """A field under one of its two names, or not at all."""
    return st.just({}) | st.tuples(st.sampled_from(names), value).map(lambda pair: dict([pair]))


def merged(*parts: st.SearchStrategy[Config]) -> st.SearchStrategy[Config]:
    """Mappings as one."""
    return st.tuples(*parts).map(lambda found: {field: value for part in found for field, value in part.items()})


CLUSTER_FIELDS = merged(
    one_of_two(("job_recovery", "spot_recovery"), RECOVERY), mapping(autostop=AUTOSTOP, hooks=HOOKS)
)
PLAIN_RESOURCES = merged(PLACES, mapping(**PARTIAL), CLUSTER_FIELDS, one_of_two(("accelerators", "gpus"), GPUS))
TPUS = st.builds(
    lambda tpu, infra, args: {"accelerators": tpu, "accelerator_args": args} | infra,
    st.sampled_from(["tpu-v2-8", "TPU-v5e-4:1", {"tpu-v6e-8": 1}, ["tpu-v3-8"]]),
    st.sampled_from([{}, {"infra": "gcp/us-central1"}, {"cloud": "kubernetes"}, {"infra": "*/us-central2"}]),
    mapping(tpu_vm=BOOLEANS, runtime_version=st.just("tpu-vm-base")),
)
ENTRIES = st.lists(
    st.none() | merged(mapping(infra=INFRA, **PARTIAL), one_of_two(("accelerators", "gpus"), GPU)),
    min_size=1,
    max_size=3,
)
CHOICES = merged(
    PLACES,
    mapping(**PARTIAL),
    CLUSTER_FIELDS,
    st.tuples(st.sampled_from(["any_of", "ordered"]), ENTRIES).map(lambda pair: dict([pair])),
)
RESOURCES = st.none() | PLAIN_RESOURCES | TPUS | CHOICES

# Rare sections

SECRETS = st.builds(
    lambda given, wanted, refs: {name: SECRET.format(name) for name in given} | dict.fromkeys(wanted | refs),
    st.sets(VARIABLES, max_size=3),
    st.sets(VARIABLES.map("W_{}".format), max_size=2),
    st.sets(st.sampled_from(["secrets:A", "secrets:global.B", "secrets:personal.C"]), max_size=2),
) | st.lists(st.sampled_from(["secrets:A", "secrets:workspace.B"]), max_size=2)
MANAGED = st.lists(
    st.sampled_from(["HF_TOKEN", "personal.B"])
    | st.dictionaries(st.sampled_from(["NETRC", "global.K"]), mapping(mount_path=ABSOLUTE), min_size=1, max_size=1),
    max_size=2,
)
PROBES = st.sampled_from(["/", "/health"]) | required(
    {"path": st.just("/v1/models")},
    initial_delay_seconds=SECONDS,
    post_data=OBJECTS | st.just('{"a": [1, "b"]}'),
    timeout_seconds=SECONDS,
    endpoint_probe_interval_seconds=SECONDS,
    consecutive_failure_threshold_timeout=SECONDS,
    headers=st.dictionaries(SOME_TEXT, TEXT, max_size=2),
)
POLICY_REST = mapping(
    num_overprovision=COUNTS,
    dynamic_ondemand_fallback=BOOLEANS,
    base_ondemand_fallback_replicas=COUNTS,
    spot_placer=st.just("dynamic_fallback"),
    upscale_delay_seconds=SECONDS,
    downscale_delay_seconds=SECONDS,
)
POLICIES = merged(
    st.sampled_from(
        [{"min_replicas": 1}, {"min_replicas": 0, "max_replicas": 3, "target_qps_per_replica": 2.5},
         {"min_replicas": 2, "max_replicas": 2}]
    ),
    POLICY_REST,
)  # fmt: skip
SERVICES = st.one_of(
    merged(
        required({"readiness_probe": PROBES}),
        mapping(
            load_balancing_policy=st.sampled_from(["round_robin", "least_load"]),
            load_balancer=mapping(stream_timeout_seconds=SECONDS),
            ports=PORTS,
            tls=st.fixed_dictionaries({"keyfile": PATHS, "certfile": PATHS}),
        ),
        mapping(replicas=COUNTS) | mapping(replica_policy=POLICIES) | mapping(workers=COUNTS),
    ),
    st.just(
        {
            "readiness_probe": "/",
            "replica_policy": {"min_replicas": 1, "max_replicas": 2, "target_qps_per_replica": {"H100:1": 2, "L4": 1}},
            "load_balancing_policy": "instance_aware_least_load",
        }
    ),
    st.just({"pool": {"workers": 2}}),
)
POOLS = mapping(upscale_delay_seconds=SECONDS, downscale_delay_seconds=SECONDS, queue_length_threshold=PORTS).flatmap(
    lambda rest: st.sampled_from(
        [{"min_workers": 1, "max_workers": 3, **rest}, {"workers": 1, "max_workers": 4, **rest}, {"workers": 2}]
    )
)
PODS = {"custom_metadata": OBJECTS.map(lambda value: {"labels": value}), "pod_config": OBJECTS,
        "provision_timeout": st.integers(-1, 9999)}  # fmt: skip
CONFIGS = mapping(
    active_workspace=SOME_TEXT,
    azure=mapping(remote_identity=SOME_TEXT, vpc_name=SOME_TEXT | st.none()),
    docker=mapping(run_options=SOME_TEXT | st.lists(SOME_TEXT, max_size=2)),
    gcp=mapping(
        enable_gpu_direct=BOOLEANS,
        enable_gvnic=BOOLEANS,
        managed_instance_group=required({"run_duration": COUNTS}, provision_timeout=COUNTS),
        placement_policy=SOME_TEXT,
        subnet_names=SOME_TEXT | st.lists(SOME_TEXT, max_size=2) | st.none(),
        vpc_name=st.sampled_from(["a-b", "project/vpc", None]),
    ),
    hooks=HOOKS,
    kubernetes=mapping(
        **PODS,
        dws=mapping(enabled=BOOLEANS, max_run_duration=st.sampled_from([10, "2h"])),
        enable_docker=BOOLEANS
        | st.sampled_from(["ALL", "BUILD"])
        | required({"mode": st.just("ALL")}, cache_volume=WORDS),
        kueue=mapping(local_queue_name=WORDS, admission_timeout=st.integers(-1, 9)),
        quota=OBJECTS,
        remote_identity=WORDS | st.dictionaries(WORDS, WORDS, max_size=2),
        set_pod_resource_limits=BOOLEANS | st.integers(1, 3) | st.floats(1, 3),
    ),
    nvidia_gpus=mapping(disable_ecc=BOOLEANS),
    slurm=mapping(
        cpu_partition=WORDS, quota=OBJECTS, sbatch_options=st.dictionaries(WORDS, st.none() | BOOLEANS | COUNTS | WORDS)
    ),
    ssh=mapping(**PODS),
    vast=mapping(create_instance_kwargs=OBJECTS, datacenter_only=BOOLEANS),
)
VOLUMES = st.dictionaries(
    ABSOLUTE,
    WORDS
    | required({"name": WORDS}, sub_path=st.just("a/b"))
    | required(
        {"size": SIZES},
        type=st.just("k8s-pvc"),
        labels=LABELS,
        config=mapping(
            storage_class_name=SOME_TEXT,
            access_mode=st.sampled_from(["ReadWriteOnce", "ReadOnlyMany"]),
            namespace=SOME_TEXT,
            host_path=st.just("/x"),
            cleanup_on_deletion=BOOLEANS,
        ),
    )
    | required({"host_path": st.just("/scratch")}, mode=st.sampled_from(["ro", "rw"])),
    max_size=2,
)
STORAGES = mapping(
    name=WORDS,
    source=PATHS | URIS | st.lists(PATHS, min_size=1, max_size=2),
    store=st.sampled_from("s3 gcs azure r2 ibm oci nebius coreweave vastdata hf volume S3".split()),
    persistent=BOOLEANS,
    mode=st.sampled_from(["MOUNT", "COPY", "MOUNT_CACHED", "copy"]),
    type=st.sampled_from(["MODEL_CHECKPOINT_RO", "MODEL_CHECKPOINT_RW", "DATASET_RO", "DATASET_RW"]),
    config=mapping(
        disk_size=SIZES,
        disk_tier=st.just("high"),
        storage_type=st.sampled_from(["network", "instance"]),
        attach_mode=st.just("read_only"),
        mount_cached=mapping(
            transfers=st.integers(1, 64),
            buffer_size=st.just("64M"),
            vfs_cache_max_size=st.just("10G"),
            vfs_cache_max_age=st.just("1h30m"),
            vfs_read_ahead=st.just("1M"),
            vfs_read_chunk_size=st.just("4M"),
            vfs_read_chunk_streams=COUNTS,
            vfs_write_back=st.just("5s"),
            read_only=BOOLEANS,
        ),
        mount=mapping(read_only=BOOLEANS, hf_mount_args=st.lists(SOME_TEXT, max_size=2)),
    ),
)
TRANSFERS = st.dictionaries(URIS, st.integers(0, 1000) | st.floats(0, 1000), min_size=1, max_size=1)

# Tasks

ENV_VALUES = st.one_of(
    TEXT.map(lambda text: text.replace("$", "")), st.integers(1 - 2**63, 2**63 - 1), BOOLEANS, st.floats()
)
PLAIN_TASKS: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXT,
    "run": TEXT,
    "setup": TEXT,
    "envs": st.dictionaries(VARIABLES, ENV_VALUES, max_size=3),
    "workdir": PATHS | required({"url": st.just("https://example.com/a.git")}, ref=st.just("main")),
    "num_nodes": st.integers(1, 1000),
    "file_mounts": st.dictionaries(TARGETS, PATHS | URIS | STORAGES, max_size=3),
    "resources": RESOURCES,
    "blocked_resources": st.lists(required({"cloud": st.just("aws")}, region=WORDS, use_spot=BOOLEANS), max_size=2),
    "secrets": SECRETS,
    "managed_secrets": MANAGED,
    "config": CONFIGS,
    "volumes": VOLUMES,
    "inputs": TRANSFERS,
    "outputs": TRANSFERS,
    "event_callback": SOME_TEXT,
    "api_server_access": BOOLEANS,
    "docker_image": SOME_TEXT,
}
TASKS = merged(mapping(**PLAIN_TASKS), st.just({}) | mapping(service=SERVICES) | mapping(pool=POOLS))

# Files of several documents

MEMBERS = st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True), min_size=1, max_size=3, unique=True)


@st.composite
def pipelines(draw: st.DrawFn) -> list[Config]:
    """Tasks that run one after the other, with or without a header."""
    tasks = draw(st.lists(TASKS, min_size=1, max_size=3))
    return draw(st.sampled_from([[], [{"name": "p", "execution": "serial"}], [{"execution": "serial"}]])) + tasks


@st.composite
def groups(draw: st.DrawFn) -> list[Config]:
    """Tasks that run together."""
    names = draw(MEMBERS)
    header = draw(
        mapping(
            primary_tasks=st.lists(st.sampled_from(names), max_size=2, unique=True),
            termination_delay=st.sampled_from(["30s", 90, "5m", {"default": "1h", names[0]: "0s"}]),
            inter_connection=BOOLEANS,
        )
    )
    tasks = [{**draw(TASKS), "name": name} for name in names]
    return [{"name": "group", "execution": "parallel", **header}, *tasks]
