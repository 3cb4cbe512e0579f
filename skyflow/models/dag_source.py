"""Graphs from documents: one task, a pipeline or a job group."""

from __future__ import annotations

from collections.abc import Sequence

from skyflow.errors import InvalidTaskError
from skyflow.models.dag import Dag
from skyflow.models.document import Document
from skyflow.models.header import DagExecution, check_header, check_members, is_header
from skyflow.models.task import Pairs
from skyflow.models.task_source import check_not_empty, read_task


def read_dag(documents: Sequence[Document], overrides: Pairs = None, secrets: Pairs = None) -> Dag:
    """The graph of a file.

    Args:
        documents: those that hold something. The first of several may be a header.
        overrides: variables that replace those of every task (`--env`).
        secrets: values of secrets, the same (`--secret`).

    Raises:
        InvalidTaskError: there is nothing, or something in it is wrong; names the line.
    """
    first, *rest = documents
    header = None
    if is_header(first.config) and (rest or "execution" in dict(first.config or {})):  # type: ignore[call-overload]
        header = check_header(first, first.config)
        if header.execution is DagExecution.PARALLEL:
            check_members(first, header, rest)
        elif not rest:
            raise InvalidTaskError(f"{first.at()}The header of a pipeline is followed by tasks, and there is none.")
        documents = rest
    elif not rest:
        check_not_empty(first)
    dag = Dag(header.name if header else None, header)
    for document in documents:
        dag.add(read_task(document, overrides, secrets))
    if header is None or header.execution is DagExecution.SERIAL:
        for parent, child in zip(dag.tasks, dag.tasks[1:], strict=False):
            dag.add_edge(parent, child)
    if header is None and len(dag) == 1:
        dag.name = dag.tasks[0].name
    return dag
