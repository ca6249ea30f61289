"""A real browser for the tests of the page to draw on: Chromium or Chrome, with chromedriver."""

import base64
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

BROWSER = next(filter(None, map(shutil.which, ("google-chrome", "chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no Chrome or Chromium with chromedriver; on Debian: apt-get install chromium chromium-driver",
)
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900")  # root has no sandbox
LOGS = {"browser": "ALL", "performance": "ALL"}

Strokes = Sequence[Sequence[tuple[float, float]]]  # in pixels of the picture that the network reads, 256 a side


class Page:
    """The page to draw on in a browser."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def load(self, path: Path) -> "Page":
        """Load the file, and wait for its network."""
        self.driver.get(path.resolve().as_uri())
        self.wait("return network !== null || page.problem.textContent !== ''")
        return self

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str) -> None:
        WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda driver: driver.execute_script(condition))

    def settle(self) -> None:
        """Wait until everything is shown."""
        self.driver.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => setTimeout(done))")

    def text(self, name: str) -> str:
        """The text of the element with this id."""
        return str(self.run("return page[arguments[0]].textContent", name)).strip()

    def draw(self, strokes: Strokes, width: int) -> None:
        """Draw with the functions that the pointer's events call."""
        self.run(
            """clear();
            page.pen.value = arguments[1];
            for (const points of arguments[0]) {
              begin(...points[0]);
              for (const point of points.slice(1)) extend(...point);
              lift();
            }""",
            strokes,
            width,
        )
        self.settle()

    def point(self, kind: str, strokes: Strokes) -> None:
        """Draw with real events of a mouse, a finger (touch) or a pen."""
        box = self.run("return page.sheet.getBoundingClientRect().toJSON()")
        actions = ActionBuilder(self.driver, mouse=PointerInput(kind, kind), duration=5)
        for points in strokes:
            places = [
                (round(box["x"] + x * box["width"] / 256), round(box["y"] + y * box["height"] / 256)) for x, y in points
            ]
            actions.pointer_action.move_to_location(*places[0]).pointer_down()
            for place in places[1:]:
                actions.pointer_action.move_to_location(*place)
            actions.pointer_action.pointer_up()
        actions.perform()
        self.settle()

    def press(self, *keys: str) -> None:
        """Press keys one after the other; a modifier holds for those after it."""
        actions = ActionChains(self.driver, duration=0)
        modifiers = [key for key in keys if key == Keys.CONTROL]
        for key in modifiers:
            actions.key_down(key)
        actions.send_keys(*[key for key in keys if key not in modifiers])
        for key in modifiers:
            actions.key_up(key)
        actions.perform()
        self.settle()

    def give(self, way: str, content: bytes, name: str) -> None:
        """Let the page see that a file was dropped (`drop`) or pasted (`paste`)."""
        self.run(
            """const given = new DataTransfer();
            const content = Uint8Array.from(atob(arguments[1]), (character) => character.charCodeAt(0));
            given.items.add(new File([content], arguments[2], {type: "image/png"}));
            document.body.dispatchEvent(
              arguments[0] === "drop"
                ? new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: given})
                : new ClipboardEvent("paste", {bubbles: true, cancelable: true, clipboardData: given}),
            );""",
            way,
            base64.b64encode(content).decode(),
            name,
        )

    def screen(self, width: int, height: int, mode: str) -> None:
        """Emulate a screen, and the system's `light` or `dark` mode."""
        command = self.driver.execute_cdp_cmd
        size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}
        command("Emulation.setDeviceMetricsOverride", size)
        command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": mode}]})
        self.settle()

    def png(self) -> bytes:
        """The drawing as a picture file."""
        return base64.b64decode(self.run("return picture.canvas.toDataURL()").partition(",")[2])

    def seen(self) -> NDArray[np.int64]:
        """The image [28, 28] that the page shows as the one that the network sees."""
        content = base64.b64decode(self.run("return page.seen.toDataURL()").partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.int64)

    def requests(self) -> list[str]:
        """Every address that the browser has asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """The errors and warnings on the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def browser() -> Iterator[Page]:
    """Start a browser, and end it."""
    os.environ["SE_OFFLINE"] = "true"  # selenium does not look for newer drivers
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    options.set_capability("goog:loggingPrefs", LOGS)
    for option in OPTIONS:
        options.add_argument(option)
    driver = Chrome(options=options, service=Service(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()
