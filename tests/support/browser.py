"""Debian's Chromium without a window: opens a page, and returns its messages, drawings and requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Browser:
    """A window of Chromium; messages and requests are returned once."""

    def __init__(self, driver: Any):
        self._driver = driver

    def open(
        self, page: Path, *, width: int = 1200, height: int = 900, dark: bool = False,
        scripts: bool = True,
    ) -> None:  # fmt: skip
        """Open a page in a window of this size, in dark mode or without JavaScript."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.messages()
        self.requested()
        self._driver.get(page.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns in the page."""
        return self._driver.execute_script(script, *arguments)

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true in the page, looking at each of its frames."""
        wait = (
            "const done = arguments[0]; const look = (left) => { "
            f"if ({condition}) done(''); else if (!left) done(document.body.innerText); "
            "else requestAnimationFrame(() => look(left - 1)); }; look(600);"
        )
        assert not (text := self._driver.execute_async_script(wait)), f"never {condition}: {text}"

    def keys(self, selector: str, *keys: str) -> None:
        """Press keys while an element has the focus."""
        self._driver.find_element("css selector", selector).send_keys(*keys)

    def click(self, selector: str) -> None:
        """Click an element, brought into view at once."""
        element = self._driver.find_element("css selector", selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    @contextmanager
    def inside(self, selector: str) -> Iterator[None]:
        """Run scripts in the page of a frame meanwhile."""
        self._driver.switch_to.frame(self._driver.find_element("css selector", selector))
        try:
            yield
        finally:
            self._driver.switch_to.default_content()

    def pdf(self) -> str:
        """Return the page on paper, in base64."""
        return str(self._driver.print_page())

    def messages(self) -> list[str]:
        """Return the messages of the console."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def requested(self) -> set[str]:
        """Return the addresses that the page requested."""
        events = (json.loads(e["message"])["message"] for e in self._driver.get_log("performance"))
        sent = (m["params"] for m in events if m["method"] == "Network.requestWillBeSent")
        return {params["request"]["url"] for params in sent}

    def command(self, name: str, **parameters: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self._driver.execute_cdp_cmd(name, parameters)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Lend a browser whose profile is in an empty folder."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "no chromium: .ci/programs installs it"
    assert driver, "no chromedriver: .ci/programs installs it"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(window)
    finally:
        window.quit()
