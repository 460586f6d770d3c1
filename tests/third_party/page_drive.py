"""Opens the pages of drift reports in Chromium, one session for all, and uses them as a person would.

Usage: page_drive.py DIRECTORY [WHERE TO KEEP PAGES AND PICTURES]
"""

import base64
import datetime
import json
import pathlib
import shutil
import sys
import tempfile
import time

import axe_playwright_python
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.print_page_options import PrintOptions
from selenium.webdriver.support.ui import Select

pages = pathlib.Path(sys.argv[1])
keep = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
axe = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


def browser(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-extensions",
        "--window-size=1400,1000", f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    return driver


class Page:
    def __init__(self, driver):
        self.driver = driver

    def open(self, name, fragment=""):
        self.driver.get("about:blank")
        self.driver.get_log("browser"), self.driver.get_log("performance")
        self.driver.get((pages / f"{name}.html").as_uri() + fragment)

    def quiet(self, name):
        """Nothing on the console, and nothing asked for but the file itself."""
        said = self.driver.get_log("browser")
        assert not said, (name, said)
        asked = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.add(message["params"]["request"]["url"].split("#")[0])
        other = {url for url in asked if not url.startswith(("data:", "about:")) and not url.endswith(f"/{name}.html")}
        assert not other, (name, other)

    def js(self, script, *args):
        return self.driver.execute_script(script, *args)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self):
        """The findings that are neither hidden nor in a hidden entry."""
        return self.js(
            "return [...document.querySelectorAll('.m')].filter(m => !m.hidden && !m.closest('details').hidden).map(m => m.id)"
        )

    def type(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        return self.js("const e = document.activeElement; return `${e.tagName} ${e.id || e.className} ${e.textContent.slice(0, 60)}`")

    def media(self, **features):
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]},
        )

    def picture(self, name, width=1400, height=1000, full=False):
        if keep is None:
            return
        if full:
            height = min(6000, self.js("return document.documentElement.scrollHeight") + 20)
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        )
        time.sleep(0.3)
        self.driver.save_screenshot(str(keep / f"{name}.png"))
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def accessible(self, name):
        """axe-core finds nothing that keeps people out."""
        self.js(axe)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations.map("
            "v => [v.id, v.help, v.nodes.length, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' ' + n.failureSummary)])))"
        )
        assert not found, (name, json.dumps(found, indent=1))

    def pdf(self, name):
        data = base64.b64decode(self.driver.print_page(PrintOptions()))
        assert data.startswith(b"%PDF"), data[:20]
        path = (keep or pages) / f"{name}.pdf"
        path.write_bytes(data)
        return path


def fixture(page):
    page.open("fixture")
    text = page.one("main").text
    assert "9 differ on 6 hosts" in page.one(".state").text, page.one(".state").text
    assert "2 could not be told" in page.one(".state").text, page.one(".state").text
    when = page.one(".run time").get_attribute("datetime")
    assert datetime.datetime.fromisoformat(when).timestamp() == 1795380232, when
    assert "could not be handed over" in text and "no DRBD 9 module" in text
    # Worst first; what is muted and what has gone stand apart; all is closed.
    titles = [title.text.split("\n")[0] for title in page.all("#findings h3")]
    words = ["Unreachable", "Failed", "Blocked", "Drifted", "Muted", "Gone since the last run"]
    assert all(word in title for word, title in zip(words, titles, strict=True)), titles
    assert not page.all("details[open]")
    total = len(page.shown())
    assert page.one("#shown").text == f"All {total} findings shown"

    # By mouse: open a finding, read its diff, copy its command.
    entry = page.one("details:has(#f-5d5e00aa1c00)")
    entry.find_element(By.TAG_NAME, "summary").click()
    assert entry.get_attribute("open") is not None
    assert "-pool 2.debian.pool.ntp.org iburst" in entry.find_element(By.CSS_SELECTOR, "del").text
    assert "+pool ntp.example.org iburst" in entry.find_element(By.CSS_SELECTOR, "ins").text
    assert "waiting for the network team" in entry.text and "root" in entry.text
    rows = entry.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert [row.find_element(By.CSS_SELECTOR, "th bdi").text for row in rows] == ["pve1", "pve2", "pve3", "pve4"], entry.text
    entry.find_element(By.CSS_SELECTOR, ".copy").click()
    page.driver.execute_async_script("setTimeout(arguments[0], 100)")
    assert entry.find_element(By.CSS_SELECTOR, ".copy").text == "Copied"
    page.picture("light-open", full=True)

    # Filter; the address keeps it.
    page.one("#q").send_keys("NTP.example iburst")
    assert len(page.shown()) == 4, page.shown()
    page.one("#q").send_keys(" waiting")
    assert page.shown() == ["f-5d5e00aa1c01"], page.shown()
    assert page.one("#shown").text == f"1 of {total} findings shown"
    page.one("button[type=reset]").click()
    page.driver.execute_async_script("setTimeout(arguments[0], 20)")
    assert len(page.shown()) == total and "#" not in page.driver.current_url, page.driver.current_url
    Select(page.one("#host")).select_by_visible_text("ct:101")
    Select(page.one("#standing")).select_by_value("still")
    assert page.shown() == ["f-e41d7719c2b0"], page.shown()
    address = page.driver.current_url
    assert address.endswith("#host=ct%3A101&standing=still"), address
    page.quiet("fixture")
    page.open("fixture", address[address.index("#"):])
    assert page.shown() == ["f-e41d7719c2b0"] and page.one("#host").get_attribute("value") == "ct:101"
    assert [part.is_displayed() for part in page.all(".part")].count(True) == 1
    page.one("#q").send_keys("no such text")
    assert page.shown() == [] and page.one("#none").is_displayed()
    page.open("fixture", "#outcome=failed")
    assert page.shown() == ["f-c0a1184b7e21"]
    page.open("fixture", "#mark=muted")
    assert page.shown() == ["f-b7704c1d9e88"]

    # From the grid to the finding, past a filter that hides it.
    page.open("fixture", "#outcome=failed")
    page.one("#grid a[href='#f-b7704c1d9e88']").click()
    page.driver.execute_async_script("setTimeout(arguments[0], 50)")
    assert page.one("#f-b7704c1d9e88").is_displayed() and "summary" in page.focused().lower(), page.focused()
    cells = {cell.get_attribute("textContent") for cell in page.all("#grid tbody td")}
    assert cells == {"ok", "drifted", "blocked", "failed", "unreachable", "skipped", "not run"}, cells
    before = len([row for row in page.all("#grid tbody tr") if row.is_displayed()])
    page.one("#only").click()
    assert len([row for row in page.all("#grid tbody tr") if row.is_displayed()]) < before

    # By keyboard alone: the skip link, the filter, an entry.
    page.open("fixture")
    page.type(Keys.TAB)
    assert "Skip to the findings" in page.focused(), page.focused()
    page.type(Keys.ENTER)
    for _ in range(20):
        page.type(Keys.TAB)
        if page.focused().startswith("SUMMARY"):
            break
    assert "Package source of LINBIT" in page.focused(), page.focused()
    outline = page.js("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in ("none", ""), outline
    page.type(Keys.ENTER)
    assert "does not answer" in page.one("details[open] .about").text
    page.type(Keys.SPACE)
    assert not page.all("details[open]")
    page.type(Keys.SHIFT, Keys.TAB)

    # Light and dark differ, and both can be read.
    page.media(prefers_color_scheme="light")
    light = page.js("return getComputedStyle(document.body).backgroundColor")
    page.open("fixture")
    page.js("for (const e of document.querySelectorAll('details')) e.open = true")
    page.accessible("light")
    page.media(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    dark = page.js("return getComputedStyle(document.body).backgroundColor")
    assert light != dark, (light, dark)
    page.accessible("dark")
    page.open("fixture")
    page.picture("dark", full=True)
    page.js("for (const e of [...document.querySelectorAll('details')].slice(2, 6)) e.open = true")
    page.picture("dark-open", full=True)
    page.media(prefers_color_scheme="light")
    page.open("fixture")
    page.picture("light", full=True)
    page.js("for (const e of [...document.querySelectorAll('details')].slice(3, 6)) e.open = true")
    page.picture("narrow", width=400, full=True)

    # A narrow window needs no sideways scrolling.
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    wide = page.js("return document.documentElement.scrollWidth")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 400, wide

    # Without scripts the findings are there and open.
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.open("fixture")
    assert not page.one("#filter").is_displayed()
    entry = page.one("details:has(#f-e41d7719c2b0)")
    entry.find_element(By.TAG_NAME, "summary").click()
    assert "insecure" in entry.find_element(By.TAG_NAME, "del").text
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    # On paper every entry is open, and afterwards closed again.
    page.open("fixture")
    path = page.pdf("fixture")
    assert not page.all("details[open]")
    page.quiet("fixture")
    return path


def hostile(page):
    page.open("hostile")
    assert "owned" in page.driver.title and page.driver.title != "owned"
    page.js("for (const e of document.querySelectorAll('details')) e.open = true")
    assert not page.all("img") and len(page.all("script")) == 1 and len(page.all("style")) == 1
    page.one("#q").send_keys("</SCRIPT>")
    assert len(page.shown()) == 5
    text = page.js("return document.body.textContent")
    for sign in ("␀", "␛[31m", "␡", "⟨U+0085⟩", "⟨U+202E⟩", "⟨U+FEFF⟩", "⟨U+FFFF⟩", "␍", "more characters", "more lines"):
        assert sign in text, sign
    for hidden in "\0\x1b\x85\u202e\ufeff\r":
        assert hidden not in text, repr(hidden)
    assert (pages / "hostile.html").stat().st_size < 2_000_000
    page.picture("hostile", full=True)
    page.quiet("hostile")
    # The wall behind the escaping: even a script that got in would not run.
    page.js("const s = document.createElement('script'); s.textContent = 'document.title=\"owned\"'; document.body.append(s)")
    assert page.driver.title != "owned"
    assert any("Content Security Policy" in entry["message"] for entry in page.driver.get_log("browser"))


def large(page):
    page.open("large")
    timing = page.js("const n = performance.getEntriesByType('navigation')[0]; return [n.domContentLoadedEventEnd, n.loadEventEnd]")
    first = page.driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => setTimeout(() => done("
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null)))"
    )
    assert len(page.shown()) == 1500, len(page.shown())
    took = []
    for script in (
        "q.value = 'task 40'", "q.value = 'task 40 node100'", "q.value = ''", "host.value = 'node007'", "host.value = ''",
        "outcome.value = 'failed'", "outcome.value = ''",
    ):
        took.append(page.driver.execute_async_script(
            "const done = arguments[0], [q, host, outcome] = ['q', 'host', 'outcome'].map(i => document.getElementById(i));"
            f"const t = performance.now(); {script};"
            "q.dispatchEvent(new Event('input', {bubbles: true}));"
            "requestAnimationFrame(() => setTimeout(() => done(performance.now() - t)))"
        ))
    grid = page.driver.execute_async_script(
        "const done = arguments[0], t = performance.now(); document.getElementById('grid').scrollIntoView();"
        "requestAnimationFrame(() => setTimeout(() => done(performance.now() - t)))"
    )
    size = (pages / "large.html").stat().st_size
    print(f"300 x 100: {size / 1e6:.1f} MB, content shown after {first} ms, ready {timing[0]:.0f} ms, loaded {timing[1]:.0f} ms;"
          f" filters {', '.join(f'{t:.0f}' for t in took)} ms; to the grid {grid:.0f} ms")
    assert len(page.all("#grid tbody td")) == 30_000
    page.picture("large-grid")
    page.open("large", "#host=node007")
    shown = page.shown()
    assert 0 < len(shown) < 20, shown
    page.picture("large-filtered")
    page.open("large")
    page.picture("large")
    page.quiet("large")


def empty(page):
    page.open("empty")
    assert "Nothing was looked at" in page.one(".state").text
    page.accessible("empty")
    page.quiet("empty")


with tempfile.TemporaryDirectory() as profile:
    if keep:
        keep.mkdir(exist_ok=True)
        for file in pages.glob("*.html"):
            shutil.copy(file, keep)
    driver = browser(profile)
    try:
        page = Page(driver)
        fixture(page)
        hostile(page)
        large(page)
        empty(page)
    finally:
        driver.quit()
print("all as expected")
