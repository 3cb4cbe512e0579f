"""Temporal's Web UI, in a real browser: whoever opens a run reads what happened, and can start and cancel launches."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import ROOT, User

pytestmark = pytest.mark.browser

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SCREENSHOTS = ROOT / "build/screenshots"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


@pytest.fixture
def address(user: User) -> str:
    user.ok("server", "start")
    return f"{user.record()['ui']}/namespaces/default"


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def shows(page: Page, *texts: str) -> None:
    """Waits until the page has all of these texts."""
    for text in texts:
        page.get_by_text(text, exact=False).first.wait_for(state="attached")


def workflow(address: str, workflow_id: str, tab: str = "") -> str:
    return f"{address}/workflows/{quote(workflow_id, safe='')}{tab}"


def launch_of(user: User, cluster: str) -> str:
    return str(json.loads(user.ok("queue", cluster, "-o", "json"))[0]["launch"])


def test_a_run_tells_which_zones_were_tried_and_what_each_said(user: User, address: str, page: Page) -> None:
    user.ok("local", "zones", "west", "west-a", "west-b")
    user.ok("local", "stockout", "--zone", "west-a")
    user.ok("launch", "-c", "story", "--infra", "local/west", "--num-nodes", "2", "--name", "train", "echo hello")
    page.goto(workflow(address, launch_of(user, "story")))
    shows(
        page,
        "Completed",
        "OPTIMIZE · rank the offers",
        "PROVISION · 2 × local-1x2 in local/west/west-a",
        "PROVISION · delete what local/west/west-a made",
        "PROVISION · 2 × local-1x2 in local/west/west-b",
        "EXEC · submit job 1",
        '"status": "SUCCEEDED"',
        "Duration",
    )
    keep(page, "failover-timeline")
    page.get_by_text("PROVISION · 2 × local-1x2 in local/west/west-a").first.click(force=True)
    shows(page, "There is no capacity in west-a (local-1x2) now.")
    keep(page, "failover-answer")
    page.goto(workflow(address, "cluster/story"))
    shows(page, "ClusterWorkflow", "watch 2 node(s)")
    keep(page, "cluster")
    user.ok("down", "-y", "story")
    user.ok("local", "clear", "--all")


def test_a_run_that_failed_shows_the_error(user: User, address: str, page: Page) -> None:
    user.ok("local", "stockout")
    done = user.run("launch", "-c", "fails", "--cpus", "8", "true")
    user.ok("local", "clear")
    assert done.returncode == 4
    launch = next(word for word in done.stderr.split() if word.startswith("launch/fails/"))
    page.goto(workflow(address, launch))
    shows(page, "Failed", "No place could give the nodes for cluster 'fails'. Tried", "--retry-until-up")
    keep(page, "failed")


def test_launch_and_cancel_from_the_web_ui(user: User, address: str, page: Page) -> None:
    page.goto(f"{address}/workflows/start-workflow")
    page.fill("#workflowId", "launch/byhand/1")
    page.fill("#taskQueue", "skyflow")
    page.fill("#workflowType", "LaunchWorkflow")
    page.click(".cm-content")
    page.keyboard.insert_text(json.dumps({"task": {"run": "sleep 1000"}, "cluster": "byhand"}))
    page.click("h1")  # the form lays the JSON out anew when it loses the focus
    shows(page, '"run": "sleep 1000"')
    page.wait_for_timeout(500)
    keep(page, "start-workflow")
    page.get_by_test_id("start-workflow-button").click()
    shows(page, "Workflow started successfully")
    deadline = time.monotonic() + 30
    while "RUNNING" not in user.run("queue", "byhand").stdout:
        assert time.monotonic() < deadline

    page.goto(workflow(address, "launch/byhand/1"))
    page.get_by_role("button", name="More Actions").click()
    page.get_by_role("menuitem", name="Send a Signal").first.click()
    page.get_by_test_id("signal-select-button").filter(visible=True).last.click()
    page.get_by_role("option", name="cancel").filter(visible=True).last.click()
    keep(page, "cancel-signal")
    page.get_by_test_id("confirm-modal-button").filter(has_text="Submit", visible=True).last.click()
    shows(page, "Failed", "The launch on 'byhand' was cancelled.")
    keep(page, "cancelled")
    deadline = time.monotonic() + 30
    while user.nodes_of("byhand"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cancel_button_cancels_too(user: User, address: str, page: Page) -> None:
    user.ok("launch", "-d", "-c", "button", "sleep 1")
    waiting = user.start("launch", "-c", "button", "sleep 1000")
    deadline = time.monotonic() + 30
    while "RUNNING" not in user.ok("queue", "button"):
        assert time.monotonic() < deadline
    page.goto(workflow(address, launch_of(user, "button")))
    page.get_by_role("button", name="Request Cancellation").click()
    page.get_by_test_id("confirm-modal-button").filter(visible=True).click()
    shows(page, "Canceled")
    keep(page, "cancel-button")
    waiting.communicate(timeout=60)
    assert waiting.returncode == 103
    assert "CANCELLED" in user.ok("queue", "button")
    user.ok("down", "-y", "button")
