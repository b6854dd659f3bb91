"""Galaxy as a person uses it: in a browser."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.galaxy.serve import ADMIN_KEY
from tests.galaxy.waiting import SECONDS_WITHOUT_PROGRESS, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = shutil.which("chromium")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# States in which a dataset stays.
ENDED = ("ok", "empty", "error", "discarded", "failed_metadata")


class Visitor:
    """A user of Galaxy, who is logged in and has a page before them."""

    def __init__(self, page: "Page", name: str) -> None:
        self.page = page
        user = {"username": name, "email": f"{name}@example.org", "password": "sky-and-sources"}
        page.request.post("/api/users", headers={"x-api-key": ADMIN_KEY}, data=user, fail_on_status_code=True)
        page.goto("/login/start")
        page.fill("input[name=login]", user["email"])
        page.fill("input[name=password]", user["password"])
        page.click("button[name=login]")
        page.wait_for_selector("#current-history-panel")

    def upload(self, path: Path) -> int:
        """Put a file in the history, and wait until it is there; its number."""
        number = self.next_number()
        element = {"src": "files", "name": path.name, "ext": "auto", "dbkey": "?"}
        targets = [{"destination": {"type": "hdas"}, "elements": [element]}]
        fields = {"history_id": self._history()["id"], "targets": json.dumps(targets), "files_0|file_data": path}
        self.page.request.post("/api/tools/fetch", multipart=fields, fail_on_status_code=True)
        self.wait(number)
        return number

    def next_number(self) -> int:
        """The number that the next dataset of the history gets."""
        contents = self.page.request.get(f"/api/histories/{self._history()['id']}/contents", max_retries=3).json()
        return 1 + max((dataset["hid"] for dataset in contents), default=0)

    def _history(self) -> dict:
        # The server closes idle connections, perhaps at the moment at which one is used again.
        return self.page.request.get("/history/current_history_json", max_retries=3).json()

    def dataset(self, number: int) -> "Locator":
        """A dataset in the history."""
        return self.page.locator(f".content-item[data-hid='{number}']")

    def states(self) -> dict[int, str]:
        """What the history shows of its datasets."""
        read = "items => items.map(item => [Number(item.dataset.hid), item.dataset.state])"
        return dict(self.page.locator(".content-item").evaluate_all(read))

    def wait(self, number: int, state: str = "ok") -> None:
        """Wait until a dataset is green, or in another state, for as long as any in the history gets on."""
        wait_until(lambda: self.states().get(number) in ENDED, f"end of dataset {number}", self.states)
        became = self.states()[number]
        assert became == state, f"dataset {number} became {became}"

    def open_form(self) -> None:
        """Show the form and wait until it has chosen an image."""
        self.page.goto("/?tool_id=source_extractor")
        self.page.wait_for_selector("[id='form-element-image'] .multiselect__single")
        self.page.evaluate("document.fonts.ready")

    def field(self, parameter: str) -> "Locator":
        """A parameter in the form, with its label and help."""
        return self.page.locator(f"[id='form-element-{parameter}']")

    def choose(self, parameter: str, text: str) -> None:
        """Choose the option that has this text in a list."""
        self.field(parameter).locator(".multiselect").click()
        self.field(parameter).locator(".multiselect__option", has_text=text).click()

    def chosen(self, parameter: str) -> str:
        """What is chosen in a list."""
        return self.field(parameter).locator(".multiselect__single").inner_text()

    def write(self, parameter: str, text: str) -> None:
        self.field(parameter).locator("input").fill(text)

    def written(self, parameter: str) -> str:
        return self.field(parameter).locator("input").input_value()

    def sections(self) -> "Locator":
        """The sections of the form that open and close."""
        return self.page.locator("#center .ui-portlet-section", has_text="Collapse/Expand")

    def open_section(self, title: str) -> "Locator":
        section = self.sections().filter(has_text=title)
        section.locator(".portlet-header").click()
        section.locator("[id^='form-element-']").first.wait_for()
        return section

    def press_run(self) -> None:
        self.page.locator("#execute").first.click()

    def run(self, state: str = "ok") -> int:
        """Run the tool, and wait until its first output is green or in another state; the number of that output."""
        number = self.next_number()
        self.press_run()
        self.wait(number, state)
        return number

    def view(self, number: int) -> None:
        """Show a dataset in the middle."""
        self.dataset(number).locator(".display-btn").first.click()
        self.page.wait_for_url("**/datasets/*")

    def view_picture(self, number: int) -> "Locator":
        """Show a picture in the middle, and wait until it is drawn."""
        self.view(number)
        picture = self.page.locator("#center img[src*='/dataset/display']")
        picture.wait_for()
        self.page.wait_for_function("image => image.complete && image.naturalWidth", arg=picture.element_handle())
        return picture

    def run_workflow(self, workflow: dict, image: int, threshold: float) -> str:
        """Run a workflow on a dataset of the history, and wait until all of it is made; the id of the invocation."""
        history = self._history()["id"]
        contents = self.page.request.get(f"/api/histories/{history}/contents").json()
        chosen = next(dataset["id"] for dataset in contents if dataset["hid"] == image)
        post = self.page.request.post
        made = post("/api/workflows", data={"workflow": workflow}, fail_on_status_code=True).json()["id"]
        given = {"Image": {"src": "hda", "id": chosen}, "Detection threshold": threshold}
        asked = {"history_id": history, "inputs": given, "inputs_by": "name"}
        invocation = post(f"/api/workflows/{made}/invocations", data=asked, fail_on_status_code=True).json()["id"]

        def states() -> list[str]:
            jobs = self.page.request.get(f"/api/jobs?invocation_id={invocation}", max_retries=3).json()
            return sorted(job["state"] for job in jobs)

        wait_until(lambda: states() and set(states()) <= {"ok", "error"}, "end of a workflow", states)
        jobs = self.page.request.get(f"/api/jobs?invocation_id={invocation}", max_retries=3).json()
        for job in jobs:
            full = self.page.request.get(f"/api/jobs/{job['id']}?full=true", max_retries=3).json()
            assert full["state"] == "ok", (full["tool_id"], full["tool_stdout"], full["tool_stderr"])
        return str(invocation)

    def expand(self, number: int) -> "Locator":
        """Show what the history knows of a dataset."""
        self.dataset(number).locator(".content-title").first.click()
        self.dataset(number).locator(".rerun-btn").wait_for()
        return self.dataset(number)

    def rerun(self, number: int) -> None:
        """Show the form as it was filled for a dataset."""
        self.expand(number).locator(".rerun-btn").click()
        self.page.wait_for_selector("[id='form-element-image'] .multiselect__single")


@contextmanager
def visiting(url: str, name: str, window: dict[str, int]) -> Iterator[Visitor]:
    """A new user of the Galaxy at `url`, in a browser window of the size `window`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Playwright gives up after fixed times alone: these end a hang, on a machine however busy.
        patience = SECONDS_WITHOUT_PROGRESS * 1000
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS, timeout=patience)
        page = browser.new_page(base_url=url, viewport=window)
        page.context.set_default_timeout(patience)
        yield Visitor(page, name)
        browser.close()
