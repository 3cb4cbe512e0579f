"""What is told of the command that used a cluster, without what is secret in it."""

from __future__ import annotations

import pytest

from skyflow.models.entry_point import MAX_ENTRY_POINT, entry_point

CLI = "/usr/local/bin/skyflow"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([CLI, "launch", "-c", "dev", "task.yaml"], "skyflow launch -c dev task.yaml"),
        ([CLI, "exec", "dev", "echo hello > file"], "skyflow exec dev 'echo hello > file'"),
        (["/src/skyflow/cli/main.py", "exec", "dev", "nproc"], "skyflow exec dev nproc"),
        ([CLI, "launch", "--env", "NAME=one two", "t.yaml"], "skyflow launch --env 'NAME=<redacted>' t.yaml"),
        ([CLI, "launch", "--secret=HF=x=y", "t.yaml"], "skyflow launch '--secret=HF=<redacted>' t.yaml"),
        ([CLI, "launch", "--config", "webhooks=u"], "skyflow launch --config 'webhooks=<redacted>'"),
        ([CLI, "launch", "--env", "NAME", "--cpus=2"], "skyflow launch --env NAME --cpus=2"),
        (
            [CLI, "launch", "--git-url", "https://me:word@host/repo"],
            "skyflow launch --git-url 'https://<redacted>@host/repo'",
        ),
        (
            [CLI, "exec", "dev", "WANDB_API_KEY=abc KEYS=1 password='p q' python t.py --monkey=1"],
            "skyflow exec dev 'WANDB_API_KEY=<redacted> KEYS=1 password=<redacted> python t.py --monkey=1'",
        ),
        (
            [CLI, "exec", "dev", "t --token=abc --hf-token abc -v"],
            "skyflow exec dev 't --token=<redacted> --hf-token <redacted> -v'",
        ),
        ([CLI, "exec", "dev", "--", "t", "--api-key", "abc"], "skyflow exec dev -- t --api-key '<redacted>'"),
        (
            [CLI, "exec", "dev", 'curl -H "Authorization: Bearer abc" u'],
            "skyflow exec dev 'curl -H \"Authorization: Bearer <redacted> u'",
        ),
        ([CLI, "exec", "dev", 'say \'{"token": "abc"}\''], None),
        ([CLI, "exec", "dev", "cd\n  here;\n\nls"], "skyflow exec dev 'cd here; ls'"),
        (["/home/me/train.py", "--token", "abc"], "train.py"),
        (["-c"], "python"),
        ([""], "python"),
        ([], "python"),
    ],
)
def test_what_is_told_of_a_command(argv: list[str], told: str | None) -> None:
    said = entry_point(argv)
    assert said == told if told is not None else "abc" not in said


def test_a_long_command_is_cut() -> None:
    told = entry_point([CLI, "exec", "dev", "x" * 5000])
    assert len(told) == MAX_ENTRY_POINT and told.endswith("…")
