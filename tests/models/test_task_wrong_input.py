"""Wrong task files, each with the one line that a user is told."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from skyflow.errors import InvalidTaskError, NotSupportedError
from skyflow.models.dag import Dag
from skyflow.models.task import Task
from skyflow.models.task_source import INTERNAL

NOT_YET = "is not supported by this version of skyflow yet; remove it from the task."
NONE = (
    "is None. Please set a value for it in task YAML or with --env flag. To set it to be empty, use an empty string "
    '(A: "" in task YAML or --env A="" in CLI).'
)
CPUS = "resources.cpus must be a number of CPUs such as 4, or '4+' for at least 4, found"
MEMORY = "resources.memory must be GiB such as 16, '16+' for at least 16, or '512MB', found"
INFRA = "resources.infra must be cloud[/region[/zone]], with * for any, found"

WRONG: list[tuple[str, str]] = [
    # Syntax
    ("run: a: b", "1: Invalid YAML: mapping values are not allowed in this context."),
    (
        "name: a\n\trun: b",
        "2: Invalid YAML: while scanning a plain scalar found a tab character that violates indentation.",
    ),
    ("\trun: b", "1: Invalid YAML: while scanning for the next token found character that cannot start any token."),
    ("run: 'open", "1: Invalid YAML: while scanning a quoted scalar found unexpected end of stream."),
    ("envs: {A: 1", "1: Invalid YAML: while parsing a flow mapping did not find expected ',' or '}'."),
    ("a\nb: c", "2: Invalid YAML: mapping values are not allowed in this context."),
    ("name: x\nrun: \x07", "2: Invalid YAML: control characters are not allowed."),
    ("run: *x", "1: the alias *x stands for nothing that comes before it."),
    ("envs: &e {A: *e}", "1: the alias *e stands for nothing that comes before it."),
    ("run: !!python/none x", "1: the tag 'tag:yaml.org,2002:python/none' is not allowed in a task YAML."),
    ("run: !secret x", "1: the tag '!secret' is not allowed in a task YAML."),
    ("!!bool run: x", "1: the tag 'tag:yaml.org,2002:bool' is not allowed in a task YAML."),
    ("? [run]\n: x", "1: the name of a field must be a plain word."),
    ("envs:\n  <<: 1", "2: << must stand before a mapping, or a list of mappings."),
    ("name: 2024-99-99", "1: '2024-99-99' is not a valid timestamp; put it in quotes."),
    ("num_nodes: 99999999999999999999", "1: '99999999999999999999' is not a valid int; put it in quotes."),
    ("run: " + "[" * 100, "1: nested more than 50 levels deep."),
    ("run: x\nname: a\nrun: y", "3: Duplicate key 'run' in YAML at line 3; it is also at line 1."),
    ("envs:\n  A: 1\n  A: 2", "3: Duplicate key 'A' in YAML at line 3; it is also at line 2."),
    ("resources: {cpus: 1, cpus: 2}", "1: Duplicate key 'cpus' in YAML at line 1; it is also at line 1."),
    # The top
    ("just words", "1: Invalid task YAML: expected fields such as 'run: echo hello', found the string 'just words'."),
    ("- run: x", "1: Invalid task YAML: expected fields such as 'run: echo hello', found a list."),
    ("5", "1: Invalid task YAML: expected fields such as 'run: echo hello', found the value 5."),
    # Fields
    ("runn: x", "1: Invalid task YAML: Instead of 'runn', did you mean 'run'?"),
    ("run: x\nnum_node: 2", "2: Invalid task YAML: Instead of 'num_node', did you mean 'num_nodes'?"),
    ("service: {}\nrunn: x", "2: Invalid task YAML: Instead of 'runn', did you mean 'run'?"),
    ("qqqqq: x", "1: Invalid task YAML: Found unsupported field 'qqqqq'."),
    ("1: x", "1: Invalid task YAML: Found unsupported field 1."),
    ("on: x", "1: Invalid task YAML: Found unsupported field True."),
    ("<<: {runn: x}", "1: Invalid task YAML: Instead of 'runn', did you mean 'run'?"),
    # Types
    ("name: 5", "1: name must be a string, found the value 5; put it in quotes."),
    ("name: [a]", "1: name must be a string, found a list; put it in quotes."),
    ("run: 5", "1: run must be a shell script (str). Got <class 'int'>"),
    ("run:\n  - a\n  - b", "1: run must be a shell script (str). Got <class 'list'>"),
    ("run: true", "1: run must be a shell script (str). Got <class 'bool'>"),
    ('run: "a\\0b"', "1: run contains a NUL character."),
    ("setup: {a: b}", "1: setup must be a shell script (str). Got <class 'dict'>"),
    ("num_nodes: 0", "1: num_nodes should be a positive int. Got: 0"),
    ("num_nodes: -1", "1: num_nodes should be a positive int. Got: -1"),
    ("num_nodes: '2'", "1: num_nodes should be a positive int. Got: '2'"),
    ("num_nodes: 1.5", "1: num_nodes should be a positive int. Got: 1.5"),
    ("num_nodes: yes", "1: num_nodes should be a positive int. Got: True"),
    (
        "workdir: 5",
        "1: workdir must be the path of a local folder, or url and ref of a git repository, found the value 5.",
    ),
    (
        "workdir: ''",
        "1: workdir must be the path of a local folder, or url and ref of a git repository, found the string ''.",
    ),
    (
        "envs: {A: ''}\nworkdir: $A",
        "2: workdir must be the path of a local folder, or url and ref of a git repository, found the string ''.",
    ),
    ("workdir: {urll: x}", "1: Invalid workdir YAML: Instead of 'urll', did you mean 'url'?"),
    # envs
    ("envs: [A=1]", "1: envs must be a mapping of names to values, found a list."),
    ("envs: A=1", "1: envs must be a mapping of names to values, found the string 'A=1'."),
    ("run: x\nenvs:\n  B: 1\n  A:", f"4: Environment variable 'A' {NONE}"),
    ("envs:\n  1A: x", "2: Invalid env key: '1A'"),
    ("envs:\n  A-B: x", "2: Invalid env key: 'A-B'"),
    ("envs:\n  1: x", "2: Env keys must be strings. Got: 1"),
    ("envs:\n  A: [1]", "2: Environment variable 'A' must have a plain value, found a list."),
    ("envs:\n  A: {b: c}", "2: Environment variable 'A' must have a plain value, found a mapping."),
    ('envs:\n  A: "a\\0"', "2: Environment variable 'A' contains a NUL character."),
    # file_mounts
    ("file_mounts: /a", "1: file_mounts must be a mapping of destination to source, found the string '/a'."),
    ("file_mounts:\n  /a/: b", "2: file_mounts: the destination '/a/' may not end with '/'; leave that off."),
    ("file_mounts:\n  /a: b/", "2: file_mounts['/a']: the source 'b/' may not end with '/'; leave that off."),
    ("file_mounts:\n  /a:", "2: file_mounts['/a'] must be a local path, a URI or a storage object, found nothing."),
    (
        "file_mounts:\n  /a: 5",
        "2: file_mounts['/a'] must be a local path, a URI or a storage object, found the value 5.",
    ),
    ("file_mounts:\n  /a: [b]", "2: file_mounts['/a'] must be a local path, a URI or a storage object, found a list."),
    ("file_mounts:\n  5: b", "2: file_mounts: a destination must be a path on the nodes, found the value 5."),
    ("file_mounts:\n  '': b", "2: file_mounts: a destination must be a path on the nodes, found the string ''."),
    ("file_mounts:\n  s3://a: b", "2: file_mounts: the destination 's3://a' must be a path on the nodes, not a URI."),
    ("file_mounts:\n  ~bob/a: b", "2: file_mounts: the destination '~bob/a' may only start with '~/'."),
    ("file_mounts:\n  /a: {nam: b}", "2: Invalid storage YAML: Instead of 'nam', did you mean 'name'?"),
    # resources
    ("resources: [a]", "1: Invalid resources YAML: expected fields such as 'cpus: 4+', found a list."),
    ("resources: aws", "1: Invalid resources YAML: expected fields such as 'cpus: 4+', found the string 'aws'."),
    ("resources:\n  cpu: 4", "2: Invalid resources YAML: Instead of 'cpu', did you mean 'cpus'?"),
    ("resources:\n  zzzzz: 4", "2: Invalid resources YAML: Found unsupported field 'zzzzz'."),
    ("resources:\n  cpus: four", f"2: {CPUS} the string 'four'."),
    ("resources:\n  cpus: 2-", f"2: {CPUS} the string '2-'."),
    ("resources:\n  cpus: 2GB", f"2: {CPUS} the string '2GB'."),
    ("resources:\n  cpus: yes", f"2: {CPUS} the value True."),
    ("resources:\n  cpus: [2]", f"2: {CPUS} a list."),
    ("resources:\n  cpus: .nan", f"2: {CPUS} the value nan."),
    ("resources:\n  cpus: 0", "2: resources.cpus must be more than 0, found the value 0."),
    ("resources:\n  cpus: -2", "2: resources.cpus must be more than 0, found the value -2."),
    ("resources:\n  memory: lots", f"2: {MEMORY} the string 'lots'."),
    ("resources:\n  memory: 16XB", f"2: {MEMORY} the string '16XB'."),
    ("resources:\n  memory: ++", f"2: {MEMORY} the string '++'."),
    ("resources:\n  memory: 0+", "2: resources.memory must be more than 0, found the string '0+'."),
    ("resources:\n  use_spot: 'yes'", "2: resources.use_spot must be true or false, found the string 'yes'."),
    ("resources:\n  infra: 5", f"2: {INFRA} the value 5."),
    ("resources:\n  infra: a/b/c/d", f"2: {INFRA} the string 'a/b/c/d'."),
    ("resources:\n  infra: aws//z", f"2: {INFRA} the string 'aws//z'."),
    ("resources:\n  infra: a w s", f"2: {INFRA} the string 'a w s'."),
    (
        "resources:\n  cloud: aws\n  infra: aws",
        "3: resources: give either infra, or cloud, region and zone, not both.",
    ),
    ("resources:\n  cloud: a/b", "2: resources.cloud must be the name of a cloud, found the string 'a/b'."),
    ("resources:\n  region: 5", "2: resources.region must be a name of the cloud's, found the value 5."),
    (
        "resources:\n  instance_type: '*'",
        "2: resources.instance_type must be a name of the cloud's, found the string '*'.",
    ),
    # Several documents
    (
        "name: a\n---\nrun: b",
        "3: one task is expected here, and the file has several YAML documents (a pipeline or a job group).",
    ),
    # What other sections say (more of them in test_sections_wrong_input.py)
    (
        "resources:\n  ports:\n    - 80\n    - http",
        "4: resources.ports must be a port such as 8080, or '8000-8100', found the string 'http'.",
    ),
    (
        "resources:\n  any_of:\n    - ports:\n        - 80\n        - 0",
        "5: resources.ports: a port is a number from 1 to 65535, found '0'.",
    ),
    (
        "resources:\n  accelerators:\n    A100: 8\n    T4: 0",
        "4: resources.accelerators: the count of 'T4' must be a number greater than 0, found the value 0.",
    ),
    (
        "resources:\n  gpus:\n    - A100:8\n    - T4:0",
        "4: resources.accelerators: the count of 'T4' must be a number greater than 0, found the string '0'.",
    ),
    (
        "resources:\n  image_id:\n    us-east-1: ami-1\n    us-west-1: 5",
        "4: resources.image_id['us-west-1'] must be the name of an image, found the value 5.",
    ),
    ("resources:\n  gpus: T4\n  accelerators: T4", "2: resources: give either accelerators or gpus."),
    (
        "resources:\n  any_of: [{cpus: 1}]\n  ordered: [{cpus: 2}]",
        "3: resources: give either any_of or ordered, not both.",
    ),
    (
        "resources:\n  any_of: {cpus: 1}",
        "2: resources.any_of must be a list of resources, one entry for each, found a mapping.",
    ),
    (
        "resources:\n  any_of:\n    - cpus: 1\n    - cpu: 2",
        "4: Invalid resources YAML: Instead of 'cpu', did you mean 'cpus'?",
    ),
    ("resources:\n  any_of:\n    - any_of: [{cpus: 1}]", "3: resources.any_of: any_of cannot be nested in it."),
    (
        "resources:\n  ordered:\n    - accelerators: {A100: 1, T4: 1}",
        "3: resources: several accelerators cannot be combined with ordered; write one entry for each.",
    ),
    (
        "resources:\n  accelerators: A100:0",
        "2: resources.accelerators: the count of 'A100' must be a number greater than 0, found the string '0'.",
    ),
    (
        "resources:\n  accelerators: {A100: -1}",
        "2: resources.accelerators: the count of 'A100' must be a number greater than 0, found the value -1.",
    ),
    (
        "resources:\n  accelerators: {A100: many}",
        "2: resources.accelerators: the count of 'A100' must be a number greater than 0, found the string 'many'.",
    ),
    (
        "resources:\n  accelerators: 5",
        "2: resources.accelerators must be NAME[:COUNT] such as A100:8, or a mapping or list of them, found the value 5.",  # noqa: E501
    ),
    (
        "resources:\n  accelerators: []",
        "2: resources.accelerators must be NAME[:COUNT] such as A100:8, or a mapping or list of them, found none.",
    ),
    (
        "resources:\n  accelerators: 7GB",
        "2: resources.accelerators: there is no accelerator with 7 GB ('7GB'); there are 8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192, 288 GB. Put + behind it for at least as much.",  # noqa: E501
    ),
    (
        "resources:\n  accelerators: nvdia:80GB",
        "2: resources.accelerators: 'nvdia:80GB' names no manufacturer that is known: nvidia, amd, aws, intel.",
    ),
    ("resources:\n  accelerators: tpu-v2-8\n  infra: aws", "2: resources: tpu-v2-8 is only on gcp, not on aws."),
    (
        "resources:\n  accelerator_args: {runtime: x}",
        "2: Invalid accelerator_args YAML: Instead of 'runtime', did you mean 'runtime_version'?",
    ),
    (
        "resources:\n  accelerator_args: {tpu_vm: 1}",
        "2: resources.accelerator_args.tpu_vm must be true or false, found the value 1.",
    ),
    ("resources:\n  infra: asw", "2: resources: there is no cloud 'asw'; did you mean 'aws'?"),
    ("resources:\n  cloud: googl", "2: resources: there is no cloud 'googl'; did you mean 'google'?"),
    (
        "resources:\n  infra: aws\n  region: us-east-1",
        "2: resources: give either infra, or cloud, region and zone, not both.",
    ),
    ("resources:\n  use_spot: 1", "2: resources.use_spot must be true or false, found the value 1."),
    (
        "resources:\n  disk_size: big",
        "2: resources.disk_size must be whole GB such as 256, or '1TB', found the string 'big'.",
    ),
    (
        "resources:\n  disk_size: 1.5",
        "2: resources.disk_size must be whole GB such as 256, or '1TB', found the value 1.5.",
    ),
    ("resources:\n  disk_size: -5", "2: resources.disk_size must be more than 0, found the value -5."),
    (
        "resources:\n  disk_tier: huge",
        "2: resources.disk_tier must be one of low, medium, high, ultra, best, found the string 'huge'.",
    ),
    (
        "resources:\n  network_tier: fast",
        "2: resources.network_tier must be one of standard, best, found the string 'fast'.",
    ),
    (
        "resources:\n  ports: http",
        "2: resources.ports must be a port such as 8080, or '8000-8100', found the string 'http'.",
    ),
    ("resources:\n  ports: 0", "2: resources.ports: a port is a number from 1 to 65535, found '0'."),
    ("resources:\n  ports: 70000", "2: resources.ports: a port is a number from 1 to 65535, found '70000'."),
    ("resources:\n  ports: 90-80", "2: resources.ports: the range '90-80' ends before it begins."),
    (
        "resources:\n  ports: [80, 8000-x]",
        "2: resources.ports must be a port such as 8080, or '8000-8100', found the string '8000-x'.",
    ),
    ("resources:\n  image_id: 5", "2: resources.image_id must be the name of an image, found the value 5."),
    ("resources:\n  image_id: 'docker:'", "2: resources.image_id: there is no image behind 'docker:'."),
    ("resources:\n  image_id: {}", "2: resources.image_id is an empty mapping; give region: image, or leave it out."),
    ("resources:\n  labels: [a]", "2: resources.labels must be a mapping of names to strings, found a list."),
    ("resources:\n  labels: {a: 5}", "2: resources.labels.a must be a string in quotes, found the value 5."),
    (
        "resources:\n  max_hourly_cost: free",
        "2: resources.max_hourly_cost must be US dollars an hour, greater than 0, found the string 'free'.",
    ),
    (
        "resources:\n  max_hourly_cost: 0",
        "2: resources.max_hourly_cost must be US dollars an hour, greater than 0, found the value 0.",
    ),
    (
        "resources:\n  local_disk: nvme:0+",
        "2: resources.local_disk must be such as 'nvme:1000+', found the string 'nvme:0+'.",
    ),
    (
        "resources:\n  local_disk: fast",
        "2: resources.local_disk must be such as 'nvme:1000+', found the string 'fast'.",
    ),
    (
        "resources:\n  priority: 5000",
        "2: resources.priority must be a whole number from -1000 to 1000, found the value 5000.",
    ),
    (
        "resources:\n  priority: high",
        "2: resources.priority must be a whole number from -1000 to 1000, found the string 'high'.",
    ),
    (
        "resources:\n  autostop: soon",
        "2: resources.autostop must be minutes such as 10, or '2h' (m, h, d, w), found the string 'soon'.",
    ),
    ("resources:\n  autostop: {idle: 5}", "2: Invalid autostop YAML: Found unsupported field 'idle'."),
    (
        "resources:\n  any_of:\n    - {infra: aws, autostop: 5}\n    - {infra: gcp}",
        "2: All resources must have the same autostop config.",
    ),
    (
        "resources:\n  job_recovery: MAYBE",
        "2: resources.job_recovery: there is no strategy 'MAYBE'; choose FAILOVER, EAGER_NEXT_REGION, none.",
    ),
    (
        "resources:\n  job_recovery: {strategy: FAILOVER, max_restarts: 3}",
        "2: Invalid job_recovery YAML: Instead of 'max_restarts', did you mean 'max_restarts_on_errors'?",
    ),
    ("resources:\n  arch: mips", "2: resources.arch must be one of x86_64, arm64, found the string 'mips'."),
    (
        "resources:\n  _docker_login_config: {}",
        "2: resources._docker_login_config is not supported by this version of skyflow yet; remove it from the task.",
    ),
    ("secrets: 5", "1: secrets must be a mapping of names to values, or a list of secrets:NAME."),
    ("secrets:\n  1A: x", "2: Invalid secret key: '1A'"),
    ("secrets: {A: [1]}", "1: Secret variable 'A' must have a plain value."),
    (
        "envs: {A: 1}\nsecrets: [A]",
        '2: Invalid secret in array form: entry 1. Array items must use the secrets: prefix (e.g., secrets:HF_TOKEN). For inline secrets with values, use dict form: secrets: {MY_SECRET: "value"}',  # noqa: E501
    ),
    ("service: {readiness_probe: health}", "1: readiness_path must start with a slash (/). Got: 'health'"),
    (
        "service:\n  readiness_probe: /\n  replica: 2",
        "3: Invalid service YAML: Instead of 'replica', did you mean 'replicas'?",
    ),
    ("service: {readiness_probe: /}\npool: {workers: 1}", "2: Cannot set both service and pool in the same task."),
    ("pool: {worker: 1}", "1: Invalid pool YAML: Instead of 'worker', did you mean 'workers'?"),
    ("config: {dockr: {}}", "1: Invalid config YAML: Instead of 'dockr', did you mean 'docker'?"),
    ("volumes: {data: v}", "1: volumes: the path 'data' on the nodes must be absolute, or begin with '~/'."),
    ("volumes: [a]", "1: volumes must be a mapping of paths on the nodes to volumes, found a list."),
    ("inputs: {s3://a: 1, s3://b: 2}", "1: inputs has 2 entries; 1 at most."),
    ("outputs: {s3://a: big}", "1: outputs['s3://a'] must be a number, 0 or more, found the string 'big'."),
    ("event_callback: 5", "1: event_callback must be a shell script, found the value 5."),
    ("api_server_access: maybe", "1: api_server_access must be true or false, found the string 'maybe'."),
    ("blocked_resources: {infra: aws}", "1: blocked_resources must be a list of resources, found a mapping."),
    ("blocked_resources:\n  - infra: marz", "2: resources: there is no cloud 'marz'; did you mean 'amazon'?"),
    (
        "blocked_resources:\n  - infra: aws\n  - {cpus: 8, arch: arm64}",
        "3: blocked_resources: cpus, arch cannot be blocked, only infra, instance_type, accelerators, use_spot can.",
    ),
    (
        "blocked_resources:\n  - {}",
        "2: blocked_resources: an entry without any of infra, instance_type, accelerators, use_spot blocks everything.",
    ),
    ("workdir: {ref: main}", "1: workdir from git needs a url."),
    ("workdir: {url: 5}", "1: workdir.url must be the address of a git repository, found the value 5."),
    ("workdir: {url: '-x'}", "1: workdir.url must be the address of a git repository, found the string '-x'."),
    (
        "file_mounts:\n  /a: {source: s3://b, mode: MONT}",
        "2: file_mounts['/a'].mode must be one of MOUNT, COPY, MOUNT_CACHED, found the string 'MONT'.",
    ),
    ("file_mounts:\n  /a: {sorce: x}", "2: Invalid storage YAML: Instead of 'sorce', did you mean 'source'?"),
    (
        "experimental: {}\nrun: x",
        "1: experimental is not supported by this version of skyflow yet; remove it from the task.",
    ),
    (
        "storage_mounts: {/a: b}",
        "1: storage_mounts is not supported by this version of skyflow yet; remove it from the task.",
    ),
    ("num_nodes: 2.0", "1: num_nodes should be a positive int. Got: 2.0"),
    ("name: a\nexecution: serial", "2: Invalid task YAML: Found unsupported field 'execution'."),
    ("execution: maybe\nname: x", "1: Invalid task YAML: Found unsupported field 'execution'."),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_wrong_input(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text(text)
    with pytest.raises((InvalidTaskError, NotSupportedError)) as caught:
        Task.from_yaml("task.yaml")
    assert str(caught.value) == f"task.yaml:{message}"
    assert isinstance(caught.value, NotSupportedError) == ("not supported by this version" in message)


@pytest.mark.parametrize("field", INTERNAL)
def test_fields_that_are_not_for_users_are_named(field: str) -> None:
    with pytest.raises(NotSupportedError) as caught:
        Task.from_yaml_str(f"run: x\n{field}: {{a: b}}")
    assert str(caught.value) == f"line 2: {field} {NOT_YET}"


WRONG_GRAPHS: list[tuple[str, str]] = [
    ("name: a\nexecution: serial\n", "line 1: The header of a pipeline is followed by tasks, and there is none."),
    ("execution: maybe\n---\nrun: x", "line 1: Invalid execution mode: 'maybe'. Valid options: ['serial', 'parallel']"),
    ("execution: parallel\n---\nname: a\nrun: x", "line 1: JobGroup header missing required fields: {'name'}"),
    (
        "name: g\nexecution: parallel\n---\nrun: x",
        'line 4: Job 1 in JobGroup must have a "name" field.',
    ),
    (
        "name: g\nexecution: parallel\nprimary_tasks: [b]\n---\nname: a\nrun: x",
        "line 3: primary_tasks references unknown job: 'b'. Available jobs: ['a']",
    ),
    (
        "name: g\nprimary_tasks: [a]\n---\nname: a\nrun: x",
        "line 2: primary_tasks is only for a job group; add 'execution: parallel', or leave it out.",
    ),
    (
        "name: p\n---\nname: a\nrun: x\n---\nruns: y",
        "line 6: Invalid task YAML: Instead of 'runs', did you mean 'run'?",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG_GRAPHS)
def test_wrong_pipelines_and_groups(text: str, message: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        Dag.from_yaml_str(text)
    assert str(caught.value) == message


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) + len(WRONG_GRAPHS) >= 100


def test_a_plain_dict_has_no_lines() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        Task.from_yaml_config({"runn": "x"})
    assert str(caught.value) == "Invalid task YAML: Instead of 'runn', did you mean 'run'?"


def test_aliases_are_allowed_but_a_bomb_is_not() -> None:
    assert Task.from_yaml_str("name: &n a\nenvs: &e {A: *n}\nrun: *n").to_yaml_config()["run"] == "a"
    merged = Task.from_yaml_str("resources:\n  <<: {cpus: 1, memory: 2}\n  cpus: 4").resources
    assert (merged[0].cpus, merged[0].memory) == ("4", "2")
    tower = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    tower += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    with pytest.raises(InvalidTaskError, match="more than 100,000 values, aliases included"):
        Task.from_yaml_str(tower)


def test_files_that_cannot_be_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("task.yaml")
    path.write_bytes(b"name: a\nrun: \xff")
    with pytest.raises(InvalidTaskError, match=r"^task.yaml:2: not UTF-8 text, so not a task YAML\.$"):
        Task.from_yaml(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(InvalidTaskError, match=r"^task.yaml: too large for a task YAML: more than 1 MiB\.$"):
        Task.from_yaml(path)
    path.write_bytes("\ufeffrun: é".encode())
    assert Task.from_yaml(path).run == "é"
    with pytest.raises(InvalidTaskError, match=r"^line 2: not valid Unicode text\.$"):
        Task.from_yaml_str("name: a\nrun: \udcff")
    for absent in ("absent.yaml", "task.yaml/x", "a\0b"):
        with pytest.raises(
            InvalidTaskError, match=r"^Task YAML '.*' (does not exist; check the path|cannot be read: .*)\.$"
        ):
            Task.from_yaml(absent)


ABSENT = "the source './absent' does not exist; check the path."
NO_SOURCE = "New storage object: source must be specified when using COPY mode."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: x\nname: a b", "2: Invalid task name 'a b': it must be letters"),
        ("run: x\nworkdir: ./absent", "2: Workdir './absent' does not exist"),
        ("file_mounts:\n  /a: .\n  /b: ./absent", f"3: file_mounts['/b']: {ABSENT}"),
        (
            "file_mounts:\n  /a: {name: b, mode: COPY, source: .}\n  /b:\n    name: b\n    mode: COPY",
            f"3: file_mounts['/b']: {NO_SOURCE}",
        ),
        ("envs: {D: b}\nfile_mounts:\n  /$D: ./absent", f"2: file_mounts['/b']: {ABSENT}"),
        ("workdir: .\nfile_mounts:\n  ~/sky_workdir: .", "3: Cannot mount ~/sky_workdir as both the workdir"),
    ],
)
def test_what_is_only_known_when_a_task_is_validated(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text(text)
    task = Task.from_yaml("task.yaml")
    for one in (task, copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
        with pytest.raises(InvalidTaskError) as caught:
            one.validate()
        assert str(caught.value).startswith(f"task.yaml:{message}") and "\n" not in str(caught.value)


def test_what_was_changed_since_has_no_line() -> None:
    task = Task.from_yaml_str("name: a\nworkdir: ./absent")
    task.set_workdir("./other")
    with pytest.raises(InvalidTaskError, match=r"^Workdir './other' does not exist"):
        task.validate()
