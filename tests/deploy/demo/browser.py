"""A real browser for tests, through chromedriver and the WebDriver protocol: https://www.w3.org/TR/webdriver2/

A few dozen lines over the standard library do for what the tests need. `open_browser` skips the test,
saying so, where Chromium or its driver is missing.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import pytest

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in the protocol
_KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Delete": "\ue017",
    "Shift": "\ue008",
    "Control": "\ue009",
}
_OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class Browser:
    """One session; every method is one or two requests to the driver."""

    def __init__(self, url, capabilities):
        self._url = url
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._url = f"{url}/session/{answer['sessionId']}"

    def go(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a function body returns in the page."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self._ask("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]

    def click(self, selector):
        self._ask("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        """Types into a field; a file's path into a file field chooses it."""
        self._ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def clear(self, selector):
        self._ask("POST", f"/element/{self.find(selector)}/clear", {})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def press(self, *keys, holding=None):
        """Presses keys one after the other, by name or as characters, in what has the focus."""
        held = [{"type": kind, "value": _KEYS[holding]} for kind in ("keyDown", "keyUp") if holding]
        presses = [
            {"type": kind, "value": _KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        actions = held[:1] + presses + held[1:]
        self._ask(
            "POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]}
        )

    def draw(self, selector, *strokes):
        """Draws strokes, lists of points (x, y) as shares of an element's sides, with the mouse."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        box = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            selector,
        )
        left, top, width, height = box
        actions = []
        for stroke in strokes:
            moves = [
                {
                    "type": "pointerMove",
                    "duration": 0,
                    "x": round(left + x * width),
                    "y": round(top + y * height),
                }
                for x, y in stroke
            ]
            down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
            actions += [moves[0], down, *moves[1:], up]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        self._ask("POST", "/actions", {"actions": [mouse | {"actions": actions}]})

    def touch(self, selector, *paths):
        """Moves one finger per path at the same time; None in a path is a moment without that finger."""
        left, top, width, height = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            selector,
        )
        fingers = []
        for number, path in enumerate(paths):
            actions, is_down = [], False
            for point in path:
                if point is None:
                    actions += [
                        {"type": "pointerUp", "button": 0} if is_down else {"type": "pause"}
                    ]
                    actions += [{"type": "pause"}]
                    is_down = False
                    continue
                place = {"x": round(left + point[0] * width), "y": round(top + point[1] * height)}
                actions += [{"type": "pointerMove", "duration": 0} | place]
                down = {"type": "pointerDown", "button": 0}
                actions += [{"type": "pause"} if is_down else down]
                is_down = True
            finger = {"type": "pointer", "id": f"finger {number}", "actions": actions}
            fingers.append(finger | {"parameters": {"pointerType": "touch"}})
        self._ask("POST", "/actions", {"actions": fingers})

    def wait(self, script, *arguments, seconds=20):
        """Waits until a function body returns something true; returns it."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script, *arguments)):
            assert time.monotonic() < deadline, f"still false after {seconds} s: {script}"
            time.sleep(0.02)
        return value

    def resize(self, width, height, *, mobile=False):
        """Makes the page's view of this size, as on a phone if `mobile`."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def prefer(self, **features):
        """Sets media features, such as prefers_color_scheme="dark"."""
        named = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self._devtools("Emulation.setEmulatedMedia", features=named)

    def cut_off(self, is_cut_off):
        """Takes the network away, or gives it back."""
        self._devtools("Network.enable")
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self._devtools("Network.emulateNetworkConditions", offline=is_cut_off, **conditions)

    def picture(self):
        """The view as a PNG file."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def log(self):
        """What the console has said since the last call: errors of scripts and refused loads."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def close(self):
        self._ask("DELETE", "")

    def _devtools(self, command, **params):
        self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {json.load(error)['value']['message']}") from None


@contextlib.contextmanager
def open_browser():
    """A headless Chromium of a test's own."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = _port(process)
        # The sandbox does not start for root.
        options = [*_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        chrome = {"binary": chromium, "args": options}
        capabilities = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}
        browser = Browser(f"http://127.0.0.1:{port}", capabilities)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _port(process):
    """The port that the driver says it listens on."""
    for line in process.stdout:
        if "started successfully on port" in line:
            return int(line.strip().rstrip(".").rsplit(" ", 1)[1])
    raise AssertionError("chromedriver did not start.")
