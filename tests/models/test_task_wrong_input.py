"""Wrong task files, each with the one line that a user is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyflow.errors import InvalidTaskError, NotSupportedError
from skyflow.models.task import LATER_FIELDS as TASK_LATER
from skyflow.models.task import Task

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
    ("workdir: 5", "1: workdir must be the path of a local folder, found the value 5."),
    ("workdir: ''", "1: workdir must be the path of a local folder, found the string ''."),
    ("envs: {A: ''}\nworkdir: $A", "2: workdir must be the path of a local folder, found the string ''."),
    ("workdir: {url: x}", f"1: workdir from git (url, ref) {NOT_YET}"),
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
    ("file_mounts:\n  /a:", "2: file_mounts['/a'] must be a local path, found nothing."),
    ("file_mounts:\n  /a: 5", "2: file_mounts['/a'] must be a local path, found the value 5."),
    ("file_mounts:\n  /a: [b]", "2: file_mounts['/a'] must be a local path, found a list."),
    ("file_mounts:\n  5: b", "2: file_mounts: a destination must be a path on the nodes, found the value 5."),
    ("file_mounts:\n  '': b", "2: file_mounts: a destination must be a path on the nodes, found the string ''."),
    ("file_mounts:\n  s3://a: b", "2: file_mounts: the destination 's3://a' must be a path on the nodes, not a URI."),
    ("file_mounts:\n  ~bob/a: b", "2: file_mounts: the destination '~bob/a' may only start with '~/'."),
    ("file_mounts:\n  /a: s3://b", f"2: file_mounts['/a']: the bucket or URL 's3://b' {NOT_YET}"),
    ("file_mounts:\n  /a: https://b/c", f"2: file_mounts['/a']: the bucket or URL 'https://b/c' {NOT_YET}"),
    ("file_mounts:\n  /a: {name: b, mode: COPY}", f"2: file_mounts['/a']: a storage object {NOT_YET}"),
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
    ("resources:\n  memory: 4x", f"2: resources.memory: a multiple of the CPUs such as '4x' {NOT_YET}"),
    ("resources:\n  use_spot: 'yes'", "2: resources.use_spot must be true or false, found the string 'yes'."),
    ("resources:\n  infra: 5", f"2: {INFRA} the value 5."),
    ("resources:\n  infra: a/b/c/d", f"2: {INFRA} the string 'a/b/c/d'."),
    ("resources:\n  infra: aws//z", f"2: {INFRA} the string 'aws//z'."),
    ("resources:\n  infra: a w s", f"2: {INFRA} the string 'a w s'."),
    ("resources:\n  infra: k8s/my/context", f"2: resources.infra: 'k8s' {NOT_YET}"),
    (
        "resources:\n  cloud: aws\n  infra: aws",
        "3: resources: give either infra, or cloud, region and zone, not both.",
    ),
    ("resources:\n  cloud: a/b", "2: resources.cloud must be a name of the cloud's, found the string 'a/b'."),
    ("resources:\n  region: 5", "2: resources.region must be a name of the cloud's, found the value 5."),
    (
        "resources:\n  instance_type: '*'",
        "2: resources.instance_type must be a name of the cloud's, found the string '*'.",
    ),
    ("resources:\n  accelerators: A100", f"2: resources.accelerators {NOT_YET}"),
    ("resources:\n  spot_recovery: none", f"2: resources.spot_recovery {NOT_YET}"),
    # Several documents
    (
        "name: a\n---\nrun: b",
        "3: several YAML documents in one file (a pipeline or a job group) are not supported by this version of "
        "skyflow yet; give one task.",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_wrong_input(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text(text)
    with pytest.raises((InvalidTaskError, NotSupportedError)) as caught:
        Task.from_yaml("task.yaml")
    assert str(caught.value) == f"task.yaml:{message}"
    assert isinstance(caught.value, NotSupportedError) == ("not supported by this version" in message)


@pytest.mark.parametrize("field", TASK_LATER)
def test_fields_for_later_versions_are_named(field: str) -> None:
    with pytest.raises(NotSupportedError) as caught:
        Task.from_yaml_str(f"run: x\n{field}: {{a: b}}")
    assert str(caught.value) == f"line 2: {field} {NOT_YET}"


def test_a_plain_dict_has_no_lines() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        Task.from_yaml_config({"runn": "x"})
    assert str(caught.value) == "Invalid task YAML: Instead of 'runn', did you mean 'run'?"


def test_aliases_are_allowed_but_a_bomb_is_not() -> None:
    assert Task.from_yaml_str("name: &n a\nenvs: &e {A: *n}\nrun: *n").to_yaml_config()["run"] == "a"
    merged = Task.from_yaml_str("resources:\n  <<: {cpus: 1, memory: 2}\n  cpus: 4").resources
    assert (merged.cpus, merged.memory) == ("4", "2")
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
