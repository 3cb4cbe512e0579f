"""Every field of SkyPilot's task YAML (PARITY §2), in the forms in which people write it, and what is held of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import skyflow as sky
from skyflow.models.rare import RARE
from skyflow.models.resources import FIELDS as RESOURCE_FIELDS
from skyflow.models.task import FIELDS

# Field of a task → (what stands in the YAML behind its name, what is written again).
TASK: dict[str, list[tuple[str, Any]]] = {
    "name": [("train", "train"), ("my.task_1--a", "my.task_1--a")],
    "run": [("|\n  echo a\n  echo b\n", "echo a\necho b\n"), ("''", "")],
    "setup": [("pip install torch", "pip install torch")],
    "envs": [("{A: 1, B: 1.5, C: true, _D: x, E: ''}", {"A": "1", "B": "1.5", "C": "True", "_D": "x", "E": ""})],
    "num_nodes": [("1", None), ("16", 16)],
    "workdir": [
        (".", "."),
        ("~/code", "~/code"),
        ("{url: https://example.com/a.git}", {"url": "https://example.com/a.git"}),
        ("{url: git@example.com:a/b.git, ref: v1}", {"url": "git@example.com:a/b.git", "ref": "v1"}),
    ],
    "file_mounts": [
        ("{/a: ./a, ~/b: ~/b, rel/c: /abs/c}", {"/a": "./a", "~/b": "~/b", "rel/c": "/abs/c"}),
        ("{/d: s3://b/x, /e: gs://b, /f: https://host/f}", {"/d": "s3://b/x", "/e": "gs://b", "/f": "https://host/f"}),
        ("{/g: s3://b/folder/}", {"/g": "s3://b/folder/"}),
        ("{/h: {source: s3://b, mode: copy}}", {"/h": {"source": "s3://b", "mode": "COPY"}}),
    ],
    "resources": [("null", None), ("{}", None), ("{cpus: 4}", {"cpus": "4"})],
    "blocked_resources": [("[{infra: aws/us-east-1}]", [{"infra": "aws/us-east-1"}])],
    "service": [("{readiness_probe: /health, replicas: 2}", {"readiness_probe": "/health", "replicas": 2})],
    "secrets": [
        ("{A: null, B: null}", {"A": None, "B": None}),
        ("{A: null, secrets:global.B: null}", {"A": None, "secrets:global.B": None}),
        ("[secrets:A, secrets:personal.B]", ["secrets:A", "secrets:personal.B"]),
        ("[secrets:workspace.C]", ["secrets:workspace.C"]),
    ],
    "managed_secrets": [
        ("[A, {B: {mount_path: ~/.netrc}}]", ["secrets:A", {"secrets:B": {"mount_path": "~/.netrc"}}]),
    ],
    "config": [
        ("{docker: {run_options: [--ipc=host, -v /a:/b]}}", {"docker": {"run_options": ["--ipc=host", "-v /a:/b"]}}),
        (
            "{kubernetes: {pod_config: {spec: {hostNetwork: true}}, provision_timeout: 900}}",
            {"kubernetes": {"pod_config": {"spec": {"hostNetwork": True}}, "provision_timeout": 900}},
        ),
        ("{nvidia_gpus: {disable_ecc: true}}", {"nvidia_gpus": {"disable_ecc": True}}),
        (
            "{hooks: [{run: save, events: [down]}]}",
            {"hooks": [{"run": "save", "events": ["down"], "timeout": 3600}]},
        ),
    ],
    "pool": [
        ("{workers: 3}", {"workers": 3}),
        ("{min_workers: 1, max_workers: 9, queue_length_threshold: 2}", {"min_workers": 1, "max_workers": 9,
                                                                       "queue_length_threshold": 2}),
    ],
    "volumes": [
        ("{/mnt/data: my-volume}", {"/mnt/data": "my-volume"}),
        ("{~/x: {name: v, sub_path: a/b}}", {"~/x": {"name": "v", "sub_path": "a/b"}}),
        ("{/t: {size: 50Gi, type: k8s-pvc}}", {"/t": {"size": "50Gi", "type": "k8s-pvc"}}),
        ("{/s: {host_path: /scratch}}", {"/s": {"host_path": "/scratch"}}),
    ],
    "inputs": [("{gs://b/x: 70}", {"gs://b/x": 70})],
    "outputs": [("{s3://b: 0.1}", {"s3://b": 0.1})],
    "event_callback": [("echo $JOB_STATUS", "echo $JOB_STATUS")],
    "api_server_access": [("false", False), ("true", True)],
    "docker_image": [("ubuntu:22.04", "ubuntu:22.04")],
}  # fmt: skip

RESOURCES: dict[str, list[tuple[str, Any]]] = {
    "accelerators": [
        ("A100", {"A100": 1}), ("A100:8", {"A100": 8}), ("{A100: 8}", {"A100": 8}), ("V100:0.5", {"V100": 0.5}),
        ("[H100:8]", {"H100": 8}), ("tpu-v2-8", {"tpu-v2-8": 1}), ("amd:192GB", {"MI300X": 1}),
        ("{L4:1}", {"L4": 1}), ("null", None),
    ],
    "gpus": [("L4:2", {"L4": 2})],
    "accelerator_args": [
        ("{tpu_vm: true, runtime_version: tpu-vm-base, tpu_name: t, gcp_queued_resource: false}",
         {"tpu_vm": True, "runtime_version": "tpu-vm-base", "tpu_name": "t", "gcp_queued_resource": False}),
    ],
    "infra": [
        ("aws", "aws"), ("gcp/us-central1/us-central1-a", "gcp/us-central1/us-central1-a"), ("'*'", None),
        ("'*/us-east-1'", "*/us-east-1"), ("'*/*/us-east-1a'", "*/*/us-east-1a"), ("k8s", "kubernetes"),
        ("k8s/my/context", "kubernetes/my/context"), ("ssh/pool", "ssh/pool"), ("oci", "oci"),
        ("nebius/eu-north1", "nebius/eu-north1"),
    ],
    "cloud": [("aws", "aws"), ("GCP", "gcp"), ("Lambda", "lambda")],
    "region": [("us-east-1", "*/us-east-1")],
    "zone": [("us-east-1a", "*/*/us-east-1a")],
    "instance_type": [("p4d.24xlarge", "p4d.24xlarge"), ("gpu_1x_a10", "gpu_1x_a10")],
    "cpus": [("4", "4"), ("4+", "4+"), ("'4+'", "4+"), ("2.5", "2.5"), ("null", None)],
    "memory": [("16", "16"), ("16+", "16+"), ("32GB+", "32+"), ("512MB", "0.5"), ("4x", "4x")],
    "use_spot": [("true", True), ("false", False), ("null", None)],
    "disk_size": [("256", 256), ("1TB", 1024), ("'512'", 512)],
    "disk_tier": [("best", "best"), ("LOW", "low"), ("none", None)],
    "network_tier": [("best", "best"), ("standard", "standard")],
    "ports": [
        ("8080", ["8080"]), ("'8080'", ["8080"]), ("8000-8100", ["8000-8100"]), ("'1,2'", ["1", "2"]),
        ("['8080', '10022-10040', '10030']", ["8080", "10022-10040"]),
    ],
    "image_id": [
        ("ami-0868", "ami-0868"), ("docker:vllm/vllm-openai:latest", "docker:vllm/vllm-openai:latest"),
        ("skypilot:gpu-ubuntu-2004", "skypilot:gpu-ubuntu-2004"), ("{us-east-1: ami-1}", {"us-east-1": "ami-1"}),
        ("{docker: img, us-east-1: ami-1}", {"docker": "img", "us-east-1": "ami-1"}), ("null", None),
    ],
    "labels": [("{team: a, cost: '5'}", {"team": "a", "cost": "5"})],
    "autostop": [
        ("false", False), ("true", {"idle_minutes": 5}), ("10", {"idle_minutes": 10}), ("2h", {"idle_minutes": 120}),
        ("{idle_minutes: 30, down_after: 24h}", {"idle_minutes": 30, "down_after": 1440}),
        ("{idle_minutes: 5, down: true, wait_for: jobs}", {"idle_minutes": 5, "down": True, "wait_for": "jobs"}),
    ],
    "job_recovery": [
        ("FAILOVER", "FAILOVER"), ("none", "none"), ("{max_restarts_on_errors: 3}", {"max_restarts_on_errors": 3}),
        ("{strategy: eager_next_region, recover_on_exit_codes: [33, 34]}",
         {"strategy": "EAGER_NEXT_REGION", "recover_on_exit_codes": [33, 34]}),
    ],
    "spot_recovery": [("none", "none"), ("EAGER_NEXT_REGION", "EAGER_NEXT_REGION")],
    "local_disk": [
        ("nvme:1000+", "nvme:1000+"),
        ("NVMe:300+", "nvme:300+"),
        ("ssd", "ssd:100+"),
        ("'1000+'", "nvme:1000+"),
        ("'500'", "nvme:500"),
    ],
    "max_hourly_cost": [("3.5", 3.5)],
    "priority": [("-1000", -1000), ("1000", 1000)],
    "priority_class": [("high", "high")],
    "hooks": [("[{run: save}]", [{"run": "save", "events": ["stop", "preemption", "down"], "timeout": 3600}])],
    "volumes": [("[{path: /mnt, name: v}]", [{"path": "/mnt", "name": "v"}])],
    "arch": [("arm64", "arm64")],
    "any_of": [("[{infra: aws}, {infra: gcp}]", [{"infra": "aws"}, {"infra": "gcp"}])],
    "ordered": [("[{infra: aws}, {infra: gcp}]", [{"infra": "aws"}, {"infra": "gcp"}])],
}  # fmt: skip
WRITTEN_AS = {
    "gpus": "accelerators", "cloud": "infra", "region": "infra", "zone": "infra", "spot_recovery": "job_recovery",
}  # fmt: skip

STORAGE: dict[str, list[tuple[str, Any]]] = {
    "name": [("my-bucket", "my-bucket")],
    "source": [("s3://b", "s3://b"), ("~/data", "~/data"), ("[~/a, ~/b.txt]", ["~/a", "~/b.txt"])],
    "store": [(f"{name}", name) for name in "s3 gcs azure r2 ibm oci nebius coreweave vastdata hf volume".split()],
    "persistent": [("false", False), ("true", None)],
    "mode": [("MOUNT", "MOUNT"), ("COPY", "COPY"), ("MOUNT_CACHED", "MOUNT_CACHED"), ("mount", "MOUNT")],
    "type": [(name, name) for name in "MODEL_CHECKPOINT_RO MODEL_CHECKPOINT_RW DATASET_RO DATASET_RW".split()],
    "config": [
        ("{mount: {read_only: true}}", {"mount": {"read_only": True}}),
        ("{mount_cached: {transfers: 4, buffer_size: 64M}}", {"mount_cached": {"transfers": 4, "buffer_size": "64M"}}),
    ],
}

SERVICE: dict[str, list[tuple[str, Any]]] = {
    "readiness_probe": [
        ("/health", "/health"),
        ("{path: /v1/models, initial_delay_seconds: 1800}", {"path": "/v1/models", "initial_delay_seconds": 1800}),
        (
            "{path: /, post_data: {model: m, max_tokens: 1}, headers: {Authorization: Bearer x}, timeout_seconds: 15}",
            {"path": "/", "post_data": {"model": "m", "max_tokens": 1}, "headers": {"Authorization": "Bearer x"},
             "timeout_seconds": 15},
        ),
        ("{path: /, post_data: '{\"a\": 1}'}", {"path": "/", "post_data": {"a": 1}}),
    ],
    "replicas": [("2", 2)],
    "replica_policy": [
        ("{min_replicas: 1}", {"min_replicas": 1}),
        (
            "{min_replicas: 1, max_replicas: 3, target_qps_per_replica: 2.5, upscale_delay_seconds: 300}",
            {"min_replicas": 1, "max_replicas": 3, "target_qps_per_replica": 2.5, "upscale_delay_seconds": 300},
        ),
        (
            "{min_replicas: 2, dynamic_ondemand_fallback: true, base_ondemand_fallback_replicas: 1, "
            "spot_placer: dynamic_fallback, num_overprovision: 1}",
            {"min_replicas": 2, "dynamic_ondemand_fallback": True, "base_ondemand_fallback_replicas": 1,
             "spot_placer": "dynamic_fallback", "num_overprovision": 1},
        ),
    ],
    "load_balancing_policy": [("round_robin", "round_robin"), ("least_load", "least_load")],
    "load_balancer": [("{stream_timeout_seconds: 120}", {"stream_timeout_seconds": 120})],
    "ports": [("8081", 8081)],
    "tls": [("{keyfile: ~/k.pem, certfile: ~/c.pem}", {"keyfile": "~/k.pem", "certfile": "~/c.pem"})],
    "pool": [("{workers: 2}", {"workers": 2})],
}  # fmt: skip


def cases(table: dict[str, list[tuple[str, Any]]]) -> list[Any]:
    return [
        pytest.param(field, text, held, id=f"{field}-{number}")
        for field, forms in table.items()
        for number, (text, held) in enumerate(forms)
    ]


def read(text: str) -> dict[str, Any]:
    """What is held of a task YAML; the same when it is read from what was written."""
    task = sky.Task.from_yaml_str(text)
    config = task.to_yaml_config()
    again = sky.Task.from_yaml_str(yaml.safe_dump(config))
    assert again.to_yaml_config() == config and again.resources == task.resources
    return config


@pytest.mark.parametrize(("field", "text", "held"), cases(TASK))
def test_a_field_of_the_task(field: str, text: str, held: Any) -> None:
    assert read(f"{field}: {text}") == ({} if held is None else {field: held})


@pytest.mark.parametrize(("field", "text", "held"), cases(RESOURCES))
def test_a_field_of_resources(field: str, text: str, held: Any) -> None:
    config = read(f"resources:\n  {field}: {text}\n")
    written = config.get("resources", {})
    if "tpu" in text and field == "accelerators":
        assert written.pop("infra") == "gcp"
    assert written == ({} if held is None else {WRITTEN_AS.get(field, field): held})


@pytest.mark.parametrize(("field", "text", "held"), cases(STORAGE))
def test_a_field_of_a_storage_object(field: str, text: str, held: Any) -> None:
    config = read(f"file_mounts:\n  /data:\n    {field}: {text}\n")
    storage = config["file_mounts"]["/data"]
    assert storage.get(field) == held
    assert storage["mode"] == (held if field == "mode" else "MOUNT")


@pytest.mark.parametrize(("field", "text", "held"), cases(SERVICE))
def test_a_field_of_a_service(field: str, text: str, held: Any) -> None:
    assert read(f"service:\n  {field}: {text}\n") == {"service": {field: held}}


def test_every_field_is_here() -> None:
    assert set(TASK) == set(FIELDS) and set(RARE) < set(TASK)
    assert set(RESOURCES) == {*RESOURCE_FIELDS, "infra", "gpus", "spot_recovery", "any_of", "ordered"}


@pytest.mark.parametrize("text", ["$A/x", "${A}/x", "$A-${A}", "$B", "${A:-z}", "$$A"])
def test_where_variables_are_filled_in(text: str) -> None:
    """In file_mounts, service, workdir and volumes; not in what the shell reads, nor anywhere else."""
    filled = text.replace("${A}", "one").replace("$A", "one")
    config = read(f"""\
envs: {{A: one, D: $A}}
name: {text}
setup: {text}
run: {text}
workdir: {text}
file_mounts: {{"/m/{text}": "{text}", /s: {{name: b, source: "{text}"}}}}
service: {{readiness_probe: "/{text}"}}
volumes: {{"/v/{text}": "v{text}"}}
resources: {{image_id: "docker:{text}", labels: {{a: "{text}"}}}}
""")
    assert (config["name"], config["setup"], config["run"]) == (text, text, text)
    assert config["resources"] == {"image_id": f"docker:{text}", "labels": {"a": text}}
    assert config["envs"]["D"] == "$A"
    assert config["workdir"] == filled
    assert config["file_mounts"] == {
        f"/m/{filled}": filled,
        "/s": {"name": "b", "source": filled, "mode": "MOUNT"},
    }
    assert config["service"] == {"readiness_probe": f"/{filled}"}
    assert config["volumes"] == {f"/v/{filled}": f"v{filled}"}
