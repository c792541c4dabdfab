"""A headless Chromium that tests drive over its own pipe: no package, no port."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}


class Browser:
    """One tab. `console` has what the page logged or threw, `requests` what it asked for."""

    def __init__(self, folder):
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        assert program, "no Chromium: `apt install chromium-headless-shell`"
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # Chromium takes commands from descriptor 3 and answers on 4.
        pipes = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, program, *flags, f"--user-data-dir={folder}"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._torn, self._numbers, self._session = b"", itertools.count(1), None
        self.console, self.requests, self._loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self._write)  # Chromium ends when its pipe does
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)

    def call(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next_message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next_message(self):
        while b"\0" not in self._torn:
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium ended"
            self._torn += part
        text, _, self._torn = self._torn.partition(b"\0")
        message = json.loads(text)
        self._take_event(message.get("method"), message.get("params"))
        return message

    def _take_event(self, method, params):
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.console.append(params)
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, path, width, scheme):
        """Load a file or an address in a window of this width, in the scheme `light` or `dark`."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self._loaded = False
        self.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        while not self._loaded:
            self._next_message()

    def value(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script, seconds=30):
        """Until `script` is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.value(f"Boolean({script})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"not true after {seconds} s: {script}")

    def click(self, selector):
        """With the mouse, in the middle of the first element that fits."""
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        box = self.value(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        self.drag([(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)])

    def drag(self, points):
        """Press at the first point of the window, move over the others, release at the last."""
        for nth, (x, y) in enumerate(points):
            where = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self.call(
                "Input.dispatchMouseEvent", type="mouseMoved", **where | {"buttons": int(nth > 0)}
            )
            if nth == 0:
                self.call("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **where | {"buttons": 0})

    def type(self, selector, text):
        """Instead of what the field holds."""
        self.value(f"document.querySelector({selector!r}).focus()")
        self.value(f"document.querySelector({selector!r}).select()")
        self.call("Input.insertText", text=text)

    def press(self, key):
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def screenshot(self, path):
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
