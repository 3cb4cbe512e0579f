"""Wrong values in the rare sections of a task, each with the one line that a user is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from skyflow.errors import InvalidTaskError
from skyflow.models.autostop import check_autostop
from skyflow.models.document import Document, Path
from skyflow.models.header import check_header
from skyflow.models.hook import EVENTS, check_event_callback, check_hooks
from skyflow.models.label import check_labels
from skyflow.models.override import check_config
from skyflow.models.pool import check_pool
from skyflow.models.recovery import check_job_recovery
from skyflow.models.secret import check_managed_secrets, check_secrets
from skyflow.models.service import check_service
from skyflow.models.shape import boolean
from skyflow.models.storage import check_storage
from skyflow.models.transfer import check_transfer
from skyflow.models.volume import check_disks, check_volumes
from skyflow.models.yaml_source import read_text

TASK: dict[str, Any] = {
    "api_server_access": boolean,
    "config": check_config,
    "event_callback": check_event_callback,
    "inputs": check_transfer,
    "managed_secrets": check_managed_secrets,
    "outputs": check_transfer,
    "pool": check_pool,
    "secrets": check_secrets,
    "service": check_service,
    "volumes": check_volumes,
    "resources": {
        "autostop": check_autostop,
        "hooks": check_hooks,
        "job_recovery": check_job_recovery,
        "labels": check_labels,
        "volumes": check_disks,
    },
    "file_mounts": {"/data": check_storage},
}

MINUTES = "resources.autostop must be minutes such as 10, or '2h' (m, h, d, w), found"
AUTOSTOP = "resources.autostop must be true, false, minutes such as 10, '2h', or a mapping, found"
RANGE = "a whole number, 0 or more, found"
QPS = "service.replica_policy.target_qps_per_replica"
SUB_PATH = (
    "volumes['/d'].sub_path must be a relative path of letters, digits, '.', '_', '-' and '/', without '..', found"
)
SIZE = "volumes['/d'].size must be a size in GB such as 100, or '10Gi', found"
ARRAY = (
    "Array items must use the secrets: prefix (e.g., secrets:HF_TOKEN). For inline secrets with values, use dict form: "
    'secrets: {MY_SECRET: "value"}'
)
REF = (
    "A secret reference must be secrets:NAME, or secrets:SCOPE.NAME with one of the scopes personal, workspace, global."
)
GROUP_NAME = "Name must contain only alphanumeric characters, hyphens, and underscores."

WRONG: list[tuple[str, str]] = [
    # service
    (
        "service: x",
        "1: Invalid service YAML: expected fields such as 'readiness_probe: /health', found the string 'x'.",
    ),
    ("service:\n  port: 1", "2: Invalid service YAML: Instead of 'port', did you mean 'ports'?"),
    ("service:\n  zzz: 1", "2: Invalid service YAML: Found unsupported field 'zzz'."),
    ("service:\n  readiness_probe: health", "2: readiness_path must start with a slash (/). Got: 'health'"),
    ("service:\n  readiness_probe: ''", "2: readiness_path must start with a slash (/). Got: ''"),
    (
        "service:\n  readiness_probe: 5",
        "2: Invalid service.readiness_probe YAML: expected fields such as 'path: /health', found the value 5.",
    ),
    (
        "service:\n  readiness_probe:\n    timeout_seconds: 5",
        "2: Invalid service.readiness_probe YAML: 'path' is a required property.",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    timeout: 5",
        "4: Invalid service.readiness_probe YAML: Instead of 'timeout', did you mean 'timeout_seconds'?",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    timeout_seconds: fast",
        "4: service.readiness_probe.timeout_seconds must be a number, 0 or more, found the string 'fast'.",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    initial_delay_seconds: -1",
        "4: service.readiness_probe.initial_delay_seconds must be a number, 0 or more, found the value -1.",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    post_data: '{'",
        "4: Invalid JSON string for `post_data` in the `readiness_probe` section of your service YAML.",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    post_data: [1]",
        "4: service.readiness_probe.post_data must be a mapping, found a list.",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    post_data:\n      since: 2024-01-01",
        "5: service.readiness_probe.post_data.since must be text, a number, true, false, a list or a mapping, found "
        "the value datetime.date(2024, 1, 1).",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    post_data:\n      1: a",
        "5: service.readiness_probe.post_data: the name 1 must be a string; put it in quotes.",
    ),
    (
        "service:\n  readiness_probe:\n    path: /\n    headers:\n      X-Id: 5",
        "5: service.readiness_probe.headers['X-Id'] must be a string in quotes, found the value 5.",
    ),
    ("service:\n  replicas: two", f"2: service.replicas must be {RANGE} the string 'two'."),
    ("service:\n  replicas: -1", f"2: service.replicas must be {RANGE} the value -1."),
    ("service:\n  replicas: yes", f"2: service.replicas must be {RANGE} the value True."),
    (
        "service:\n  replicas: 1\n  replica_policy: {min_replicas: 1}",
        "3: Cannot specify both `replicas` and `replica_policy` in the service YAML. Please use one of them.",
    ),
    (
        "service:\n  replicas: 1\n  workers: 1",
        "3: Cannot specify both `replicas` and `workers`. Please use one of them.",
    ),
    (
        "service:\n  replica_policy:\n    max_replicas: 1",
        "2: Invalid service.replica_policy YAML: 'min_replicas' is a required property.",
    ),
    (
        "service:\n  replica_policy:\n    min_replicas: 3\n    max_replicas: 2",
        "4: max_replicas must be greater than or equal to min_replicas. Found: min_replicas=3, max_replicas=2",
    ),
    (
        "service:\n  replica_policy:\n    min_replicas: 1\n    max_replicas: 2",
        "4: Detected different min_replicas and max_replicas while target_qps_per_replica is not set. To enable "
        "autoscaling, please set target_qps_per_replica.",
    ),
    (
        "service:\n  replica_policy:\n    min_replicas: 1\n    target_qps_per_replica: 2",
        "4: max_replicas must be set where target_qps_per_replica is set.",
    ),
    (
        "service:\n  replica_policy:\n    min_replicas: 1\n    max_replicas: 2\n    target_qps_per_replica: .inf",
        f"5: {QPS} must be a number, 0 or more, found the value inf.",
    ),
    (
        "service:\n  replica_policy:\n    min_replicas: 1\n    max_replicas: 2\n    target_qps_per_replica: {H100: 1}",
        '5: When using dict type target_qps_per_replica, load_balancing_policy must be "instance_aware_least_load".',
    ),
    (
        "service:\n  replica_policy:\n    min_replicas: 1\n    target_qps_per_replica: {'H 100': 1}",
        f"4: {QPS}: 'H 100' must be the name of a GPU such as 'H100' or 'H100:1'.",
    ),
    (
        "service:\n  load_balancing_policy: instance_aware_least_load",
        '2: When using "instance_aware_least_load" policy, target_qps_per_replica must be a dict mapping GPU types to '
        "QPS values.",
    ),
    (
        "service:\n  load_balancing_policy: random",
        "2: Unknown load balancing policy: 'random'. Available policies: ['round_robin', 'least_load', "
        "'instance_aware_least_load']",
    ),
    (
        "service:\n  replica_policy: {min_replicas: 1, spot_placer: best}",
        "2: service.replica_policy.spot_placer must be one of dynamic_fallback, found the string 'best'.",
    ),
    ("service:\n  ports: 0", "2: Port must be between 1 and 65535."),
    ("service:\n  ports: '80'", "2: service.ports must be the number of a port, found the string '80'."),
    ("service:\n  tls:\n    keyfile: a", "2: Invalid service.tls YAML: 'certfile' is a required property."),
    (
        "service:\n  load_balancer:\n    timeout: 1",
        "3: Invalid service.load_balancer YAML: Found unsupported field 'timeout'.",
    ),
    ("service:\n  pool: {workers: 1}\n  ports: 80", "3: ports is not supported for pool."),
    # pool
    ("pool: 3", "1: Invalid pool YAML: expected fields such as 'workers: 2', found the value 3."),
    ("pool:\n  worker: 3", "2: Invalid pool YAML: Instead of 'worker', did you mean 'workers'?"),
    ("pool: {}", "1: One of workers, or both min_workers and max_workers must be set for pool autoscaling."),
    ("pool:\n  workers: -1", f"2: pool.workers must be {RANGE} the value -1."),
    (
        "pool:\n  min_workers: 1\n  workers: 1",
        "3: A pool has either workers, or min_workers and max_workers, not both.",
    ),
    ("pool:\n  min_workers: 1", "2: max_workers must be set when min_workers is specified for pool autoscaling."),
    (
        "pool:\n  workers: 1\n  queue_length_threshold: 1",
        "3: max_workers must be set when queue_length_threshold is specified for pool autoscaling.",
    ),
    (
        "pool:\n  max_workers: 1\n  min_workers: 2",
        "3: min_workers (2) must be <= max_workers (1) for pool autoscaling.",
    ),
    (
        "pool: {max_workers: 1, queue_length_threshold: 0}",
        "1: pool.queue_length_threshold must be a whole number, 1 or more, found the value 0.",
    ),
    # secrets: nothing that may be a value is shown
    ("secrets: hunter2", "1: secrets must be a mapping of names to values, or a list of secrets:NAME."),
    ("secrets:\n  - secrets:A\n  - hunter2", f"3: Invalid secret in array form: entry 2. {ARRAY}"),
    ("secrets:\n  - HF=hunter2", f"2: Invalid secret in array form: entry 1. {ARRAY}"),
    ("secrets:\n  - 'secrets:'", f"2: {REF}"),
    ("secrets:\n  - secrets:global.", f"2: {REF}"),
    ("secrets:\n  A-B: hunter2", "2: Invalid secret key: 'A-B'"),
    ("secrets:\n  A=hunter2:", "2: Invalid secret key: 'A'"),
    ("secrets:\n  1: hunter2", "2: Secret keys must be strings."),
    ("secrets:\n  A: [hunter2]", "2: Secret variable 'A' must have a plain value."),
    ('secrets:\n  A: "hunter2\\0"', "2: Secret variable 'A' contains a NUL character."),
    (
        "secrets:\n  A: <redacted>",
        "2: Secret variable 'A' is '<redacted>': its value was left out when the task was written; give it.",
    ),
    (
        "secrets:\n  secrets:A: hunter2",
        "2: Invalid secret 'secrets:A': secret references (secrets: prefix) must have a null value in dict form. To "
        "provide an inline secret value, remove the 'secrets:' prefix.",
    ),
    ("managed_secrets: hunter2", "1: managed_secrets must be a list of names of secrets."),
    ("managed_secrets:\n  - 5", "2: managed_secrets[0] must be a name, or {name: {mount_path: …}}."),
    ("managed_secrets:\n  - A: hunter2", "2: managed_secrets[0] must be a name, or {name: {mount_path: …}}."),
    ("managed_secrets:\n  - {A: {}, B: {}}", "2: managed_secrets[0] must be a name, or {name: {mount_path: …}}."),
    (
        "managed_secrets:\n  - A: {mount_pth: ~/x}",
        "2: managed_secrets[0]: a managed secret has one option, mount_path.",
    ),
    ("managed_secrets:\n  - A: {mount_path: 5}", "2: managed_secrets[0]: mount_path must be a path on the nodes."),
    ("managed_secrets:\n  - 'A B'", f"2: {REF}"),
    # config and hooks
    ("config: x", "1: Invalid config YAML: expected fields such as 'kubernetes: …', found the string 'x'."),
    ("config:\n  kubernets: {}", "2: Invalid config YAML: Instead of 'kubernets', did you mean 'kubernetes'?"),
    (
        "config:\n  kubernetes:\n    pod_configs: {}",
        "3: Invalid config.kubernetes YAML: Instead of 'pod_configs', did you mean 'pod_config'?",
    ),
    (
        "config:\n  kubernetes:\n    provision_timeout: 10m",
        "3: config.kubernetes.provision_timeout must be a whole number, -1 or more, found the string '10m'.",
    ),
    (
        "config:\n  kubernetes:\n    custom_metadata:\n      name: a",
        "4: config.kubernetes.custom_metadata cannot have 'name'; skyflow chooses it.",
    ),
    (
        "config:\n  kubernetes:\n    set_pod_resource_limits: 0.5",
        "3: config.kubernetes.set_pod_resource_limits must be a number, 1 or more, found the value 0.5.",
    ),
    (
        "config:\n  kubernetes:\n    enable_docker: SOME",
        "3: config.kubernetes.enable_docker must be one of ALL, BUILD, found the string 'SOME'.",
    ),
    (
        "config:\n  kubernetes:\n    dws:\n      max_run_duration: 30s",
        "4: config.kubernetes.dws.max_run_duration must be minutes such as 10, or '2h' (m, h, d, w), found the string "
        "'30s'.",
    ),
    (
        "config:\n  gcp:\n    managed_instance_group: {}",
        "3: Invalid config.gcp.managed_instance_group YAML: 'run_duration' is a required property.",
    ),
    (
        "config:\n  gcp:\n    vpc_name: My VPC",
        "3: config.gcp.vpc_name must be the name of a VPC, or project/name, in small letters, digits and '-', found "
        "the string 'My VPC'.",
    ),
    (
        "config:\n  docker:\n    run_options: [5]",
        "3: config.docker.run_options[0] must be a string, found the value 5.",
    ),
    (
        'config:\n  slurm:\n    sbatch_options:\n      qos: "a\\nb"',
        "4: config.slurm.sbatch_options.qos must be a string of one line, found the string 'a\\nb'.",
    ),
    (
        "config:\n  nvidia_gpus:\n    disable_ecc: 'no'",
        "3: config.nvidia_gpus.disable_ecc must be true or false, found the string 'no'.",
    ),
    ("config:\n  hooks: x", "2: config.hooks must be a list of hooks, found the string 'x'."),
    ("config:\n  hooks:\n    - events: [down]", "3: Invalid hook YAML: 'run' is a required property."),
    ("config:\n  hooks:\n    - run: ''", "3: config.hooks[0].run must be a shell script, found the string ''."),
    (
        "config:\n  hooks:\n    - run: a\n      events: [start]",
        f"4: config.hooks[0].events[0] must be one of {', '.join(EVENTS)}, found the string 'start'.",
    ),
    (
        "config:\n  hooks:\n    - run: a\n      events: []",
        "4: config.hooks[0].events must be a list of stop, preemption, down, found a list.",
    ),
    (
        "config:\n  hooks:\n    - run: a\n      events: [down, down]",
        "4: config.hooks[0].events names an event twice.",
    ),
    (
        "config:\n  hooks:\n    - run: a\n      timeout: 0",
        "4: config.hooks[0].timeout must be a whole number, 1 or more, found the value 0.",
    ),
    (
        "config:\n  hooks:\n    - run: " + "a" * 16385,
        "3: config.hooks[0].run has 16385 bytes; 16384 at most. Put the script into the workdir and call it.",
    ),
    ("resources:\n  hooks:\n" + "    - run: a\n" * 33, "2: resources.hooks has 33 entries; 32 at most."),
    # autostop
    ("resources:\n  autostop: soon", f"2: {MINUTES} the string 'soon'."),
    ("resources:\n  autostop: 30s", f"2: {MINUTES} the string '30s'."),
    ("resources:\n  autostop: 1.5", f"2: {AUTOSTOP} the value 1.5."),
    ("resources:\n  autostop: [5]", f"2: {AUTOSTOP} a list."),
    (
        "resources:\n  autostop: 9999999w",
        "2: resources.autostop must be 10 years at most, found the string '9999999w'.",
    ),
    (
        "resources:\n  autostop:\n    idle_minute: 5",
        "3: Invalid autostop YAML: Instead of 'idle_minute', did you mean 'idle_minutes'?",
    ),
    (
        "resources:\n  autostop:\n    idle_minutes: -5",
        f"3: resources.autostop.idle_minutes must be {RANGE} the value -5.",
    ),
    (
        "resources:\n  autostop:\n    idle_minutes: 5m",
        f"3: resources.autostop.idle_minutes must be {RANGE} the string '5m'.",
    ),
    ("resources:\n  autostop:\n    down: 1", "3: resources.autostop.down must be true or false, found the value 1."),
    (
        "resources:\n  autostop:\n    wait_for: ssh",
        "3: resources.autostop.wait_for must be one of jobs_and_ssh, jobs, none, found the string 'ssh'.",
    ),
    (
        "resources:\n  autostop:\n    hook_timeout: 0",
        "3: resources.autostop.hook_timeout must be a whole number, 1 or more, found the value 0.",
    ),
    # job_recovery
    (
        "resources:\n  job_recovery: RETRY",
        "2: resources.job_recovery: there is no strategy 'RETRY'; choose FAILOVER, EAGER_NEXT_REGION, none.",
    ),
    (
        "resources:\n  job_recovery:\n    strategy: RETRY",
        "3: resources.job_recovery.strategy: there is no strategy 'RETRY'; choose FAILOVER, EAGER_NEXT_REGION, none.",
    ),
    (
        "resources:\n  job_recovery: 5",
        "2: resources.job_recovery must be the name of a strategy or a mapping, found the value 5.",
    ),
    (
        "resources:\n  job_recovery:\n    max_restarts: 3",
        "3: Invalid job_recovery YAML: Instead of 'max_restarts', did you mean 'max_restarts_on_errors'?",
    ),
    (
        "resources:\n  job_recovery:\n    max_restarts_on_errors: -1",
        f"3: resources.job_recovery.max_restarts_on_errors must be {RANGE} the value -1.",
    ),
    (
        "resources:\n  job_recovery:\n    recover_on_exit_codes: [1, 256]",
        "3: resources.job_recovery.recover_on_exit_codes[1] must be a whole number from 0 to 255, found the value 256.",
    ),
    (
        "resources:\n  job_recovery:\n    recover_on_exit_codes: [1, 1]",
        "3: resources.job_recovery.recover_on_exit_codes has an exit code twice.",
    ),
    (
        "resources:\n  job_recovery:\n    recover_on_exit_codes: all",
        "3: resources.job_recovery.recover_on_exit_codes must be an exit code from 0 to 255, or a list of them, found "
        "the string 'all'.",
    ),
    # labels
    ("resources:\n  labels: a=b", "2: resources.labels must be a mapping of names to strings, found the string 'a=b'."),
    (
        "resources:\n  labels:\n    a: 5",
        "3: resources.labels.a must be a string in quotes, found the value 5.",
    ),
    ("resources:\n  labels:\n    5: a", "3: resources.labels: the name 5 must be a string; put it in quotes."),
    # volumes
    ("volumes: x", "1: volumes must be a mapping of paths on the nodes to volumes, found the string 'x'."),
    ("volumes:\n  data: x", "2: volumes: the path 'data' on the nodes must be absolute, or begin with '~/'."),
    ("volumes:\n  ~bob/x: x", "2: volumes: the path '~bob/x' on the nodes must be absolute, or begin with '~/'."),
    ("volumes:\n  /d: 5", "2: volumes['/d'] must be the name of a volume, or a mapping, found the value 5."),
    ("volumes:\n  /d:", "2: volumes['/d'] must be the name of a volume, or a mapping, found nothing."),
    (
        "volumes:\n  /d: {}",
        "2: volumes['/d']: Volume size must be specified for ephemeral volumes. Give size, or the name of a volume "
        "that exists.",
    ),
    ("volumes:\n  /d: {name: v, sub_path: ../x}", f"2: {SUB_PATH} the string '../x'."),
    ("volumes:\n  /d: {name: v, sub_path: /x}", f"2: {SUB_PATH} the string '/x'."),
    ("volumes:\n  /d: {name: v, labels: {}}", "2: Invalid volume YAML: Found unsupported field 'labels'."),
    ("volumes:\n  /d: {size: lots}", f"2: {SIZE} the string 'lots'."),
    ("volumes:\n  /d: {size: 0}", f"2: {SIZE} the value 0."),
    (
        "volumes:\n  /d: {size: 5, type: nfs}",
        "2: volumes['/d'].type must be one of k8s-pvc, found the string 'nfs'.",
    ),
    (
        "volumes:\n  /d: {size: 5, config: {access_mode: all}}",
        "2: volumes['/d'].config.access_mode must be one of ReadWriteOnce, ReadWriteOncePod, ReadWriteMany, "
        "ReadOnlyMany, found the string 'all'.",
    ),
    ("volumes:\n  /d: {host_path: x}", "2: volumes['/d'].host_path must be an absolute path, found the string 'x'."),
    ("volumes:\n  /d: {host_path: /}", "2: volumes['/d'].host_path must not be the root directory '/'."),
    (
        "volumes:\n  /d: {host_path: /x, mode: rwx}",
        "2: volumes['/d'].mode must be one of ro, rw, found the string 'rwx'.",
    ),
    ("resources:\n  volumes: /d", "2: resources.volumes must be a list of disks, found the string '/d'."),
    ("resources:\n  volumes:\n    - name: a", "3: Invalid volume YAML: 'path' is a required property."),
    (
        "resources:\n  volumes:\n    - path: /d",
        "3: resources.volumes[0]: a network volume needs a name; for a disk of the instance, give 'storage_type: "
        "instance'.",
    ),
    # inputs, outputs, and single values
    ("inputs: s3://a", "1: inputs must be a mapping of a URI to its size in GB, found the string 's3://a'."),
    ("inputs:\n  s3://a: big", "2: inputs['s3://a'] must be a number, 0 or more, found the string 'big'."),
    ("outputs:\n  s3://a: 1\n  s3://b: 1", "1: outputs has 2 entries; 1 at most."),
    ("event_callback: [a]", "1: event_callback must be a shell script, found a list."),
    ("api_server_access: 'no'", "1: api_server_access must be true or false, found the string 'no'."),
    # storage objects
    (
        "file_mounts:\n  /data: []",
        "2: Invalid storage YAML: expected fields such as 'source: s3://my-bucket', found a list.",
    ),
    ("file_mounts:\n  /data: {nam: b}", "2: Invalid storage YAML: Instead of 'nam', did you mean 'name'?"),
    (
        "file_mounts:\n  /data: {name: 5}",
        "2: file_mounts['/data'].name must be the name of a bucket, found the value 5.",
    ),
    (
        "file_mounts:\n  /data: {source: []}",
        "2: file_mounts['/data'].source must be a local path, or a list of them, found a list.",
    ),
    (
        "file_mounts:\n  /data: {source: [5]}",
        "2: file_mounts['/data'].source[0] must be a local path, found the value 5.",
    ),
    (
        "file_mounts:\n  /data:\n    mode: MOVE",
        "3: file_mounts['/data'].mode must be one of MOUNT, COPY, MOUNT_CACHED, found the string 'MOVE'.",
    ),
    (
        "file_mounts:\n  /data: {store: ftp}",
        "2: file_mounts['/data'].store must be one of S3, GCS, AZURE, R2, IBM, OCI, NEBIUS, COREWEAVE, VASTDATA, HF, "
        "VOLUME, found the string 'ftp'.",
    ),
    (
        "file_mounts:\n  /data: {persistent: 'no'}",
        "2: file_mounts['/data'].persistent must be true or false, found the string 'no'.",
    ),
    (
        "file_mounts:\n  /data: {config: {mount_cached: {transfers: 0}}}",
        "2: file_mounts['/data'].config.mount_cached.transfers must be a whole number, 1 or more, found the value 0.",
    ),
    (
        "file_mounts:\n  /data: {config: {mount_cached: {buffer_size: big}}}",
        "2: file_mounts['/data'].config.mount_cached.buffer_size must be a size such as '64M', found the string 'big'.",
    ),
    (
        "file_mounts:\n  /data: {config: {mount: {readonly: true}}}",
        "2: Invalid storage.config.mount YAML: Instead of 'readonly', did you mean 'read_only'?",
    ),
]

WRONG_HEADERS: list[tuple[str, str]] = [
    ("name: [a]", "1: name must be a string, found a list; put it in quotes."),
    ("execution: both", "1: Invalid execution mode: 'both'. Valid options: ['serial', 'parallel']"),
    ("execution: parallel", "1: JobGroup header missing required fields: {'name'}"),
    ("execution: parallel\nname: a b", f"2: Invalid job group name: 'a b'. {GROUP_NAME}"),
    ("name: a\nexecution: parallel\nrun: x", "3: Invalid header YAML: Found unsupported field 'run'."),
    (
        "name: a\nprimary_tasks: [b]",
        "2: primary_tasks is only for a job group; add 'execution: parallel', or leave it out.",
    ),
    (
        "name: a\nexecution: parallel\nprimary_tasks: b",
        "3: primary_tasks must be a list of names of tasks, found the string 'b'.",
    ),
    (
        "name: a\nexecution: parallel\nprimary_tasks: [5]",
        "3: primary_tasks[0] must be the name of a task, found the value 5.",
    ),
    (
        "name: a\nexecution: parallel\ntermination_delay: soon",
        "3: termination_delay must be seconds such as 30, or '5m' (s, m, h, d, w), found the string 'soon'.",
    ),
    (
        "name: a\nexecution: parallel\ntermination_delay:\n  b: -1",
        "4: termination_delay.b must be seconds such as 30, or '5m' (s, m, h, d, w), found the value -1.",
    ),
    (
        "name: a\nexecution: parallel\ninter_connection: 1",
        "3: inter_connection must be true or false, found the value 1.",
    ),
]


def check_all(document: Document, value: Any, path: Path, checks: Mapping[str, Any]) -> None:
    for field, given in value.items():
        checker: Callable[..., object] | Mapping[str, Any] = checks[field]
        if isinstance(checker, Mapping):
            check_all(document, given, (*path, field), checker)
        else:
            checker(document, given, (*path, field))


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text[:50] for text, _ in WRONG])
def test_wrong_input(text: str, message: str) -> None:
    document = read_text(text, "task.yaml")
    with pytest.raises(InvalidTaskError) as caught:
        check_all(document, document.config, (), TASK)
    assert str(caught.value) == f"task.yaml:{message}"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), WRONG_HEADERS, ids=[text[:50] for text, _ in WRONG_HEADERS])
def test_wrong_header(text: str, message: str) -> None:
    document = read_text(text, "group.yaml")
    with pytest.raises(InvalidTaskError) as caught:
        check_header(document, document.config)
    assert str(caught.value) == f"group.yaml:{message}"
