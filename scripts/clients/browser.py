"""Tests Swagger UI's Authorize in a browser, and a request that needs a credential, before and after it.

  scripts/clients/browser.py SERVER PROFILE      PROFILE: a folder that does not exist yet
"""

import json
import re
import sys

import requests
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

SERVER, PROFILE = sys.argv[1:]
PASSWORD = "lamp ostrich kettle"
# An operation that needs a credential.
ME, PATH = "users-get_me", "GET /v1/users/me"
DIALOG = ".modal-ux .auth-container"
PASSWORD_FORM = f"{DIALOG}:has(#oauth_password)"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    # The browser reaches no other host.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1400,1000",
    f"--user-data-dir={PROFILE}",
)


def all_scopes():
    """The scopes of a user: all that the document names, except the admin's."""
    schemes = requests.get(f"{SERVER}/openapi.json", timeout=10).json()["components"]["securitySchemes"]
    return set(schemes["oauth2"]["flows"]["password"]["scopes"]) - {"admin"}


def ok(what):
    print(f"ok   browser: {what}", flush=True)


def same(got, wanted):
    if got != wanted:
        sys.exit(f"FAIL browser: {got!r} instead of {wanted!r}")


class Page:
    def __init__(self, browser):
        self.browser = browser

    def wait(self, what, condition):
        # The page may be redrawn between finding an element and reading it.
        waiting = WebDriverWait(self.browser, 20, 0.05, [StaleElementReferenceException, ElementClickInterceptedException])
        return waiting.until(lambda _: condition(), f"after 20 s {what}")

    def all(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def one(self, css, use=lambda element: element):
        """Waits for an element and returns what `use` returns for it."""
        found = self.wait(f"there is no {css}", lambda: [use(element) for element in self.all(css)[:1]])
        return found[0]

    def click(self, css):
        def press(element):
            # An element outside the window cannot be clicked.
            self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
            element.click()

        self.one(css, press)

    def read(self, css):
        return self.one(css, lambda element: element.text)

    def fill(self, css, text):
        self.one(css, lambda element: (element.clear(), element.send_keys(text)))

    def open_dialog(self):
        self.click(".scheme-container button.authorize")

    def authorize(self, name, password, *scopes):
        """Fills in the form of the password grant."""
        self.fill(f"{PASSWORD_FORM} #oauth_username", name)
        self.fill(f"{PASSWORD_FORM} #oauth_password", password)
        for scope in scopes:
            self.click(f"{PASSWORD_FORM} label[for^='{scope}-']")
        self.click(f"{PASSWORD_FORM} button.authorize")

    def authorized(self):
        # When the page has a token, it removes the fields.
        self.wait("Authorize has not succeeded", lambda: not self.all(PASSWORD_FORM))
        self.close_dialog()

    def close_dialog(self):
        self.click(".modal-ux .close-modal")
        self.wait("the dialog is still there", lambda: not self.all(".modal-ux"))

    def log_out(self):
        """Leaves the dialog open."""
        self.open_dialog()
        self.click(f"{DIALOG} button[aria-label='Remove authorization']")
        self.one(PASSWORD_FORM)

    def execute(self, operation):
        """Presses "Execute". Returns status, body and the request as curl, as the page shows them."""
        block = f"#operations-{operation}"
        if not self.all(f"{block} button.execute"):
            self.click(f"{block} .opblock-summary-control")
            self.click(f"{block} button.try-out__btn")
        if self.all(f"{block} button.btn-clear"):
            self.click(f"{block} button.btn-clear")
        response = f"{block} .live-responses-table tbody"
        self.wait("the last response is still there", lambda: not self.all(response))
        self.click(f"{block} button.execute")
        status = self.read(f"{response} .response-col_status").split()[0]
        return int(status), json.loads(self.read(f"{response} .highlight-code code")), self.read(f"{block} .curl code")


def walk(page):
    page.browser.get(f"{SERVER}/docs")
    page.one(".scheme-container button.authorize")
    same(page.read(".info .title").split()[0], "Sightline")
    ok("/docs shows the API")

    status, body, _ = page.execute(ME)
    same((status, body.get("code")), (401, "unauthorized"))
    ok(f"without a credential {PATH} is refused: {status} {body['code']}")

    page.open_dialog()
    page.authorize("dora", "wrong password")
    message = page.read(f"{DIALOG} .errors")
    same("invalid_grant" in message, True)
    ok(f"Authorize shows for a wrong password: {message!r}")
    page.authorize("dora", PASSWORD)
    page.authorized()
    status, body, request = page.execute(ME)
    same((status, body.get("username"), body.get("email")), (200, "dora", "dora@example.org"))
    same(granted(request), all_scopes())
    ok(f"authorized with name and password: {PATH} responds {status} for {body['username']}")

    page.log_out()
    page.authorize("dora@example.org", PASSWORD, "detections:read")
    page.authorized()
    status, body, request = page.execute(ME)
    same((status, body.get("username")), (200, "dora"))
    same(granted(request), {"detections:read"})
    ok("with a scope ticked, the token has that scope only")

    page.log_out()
    page.close_dialog()
    status, body, _ = page.execute(ME)
    same((status, body.get("code")), (401, "unauthorized"))
    ok("after Logout it is refused again")

    requested = page.browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    same([address for address in requested if not address.startswith(f"{SERVER}/")], [])
    # The log also has the refused requests above.
    errors = [entry["message"] for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]
    same([entry for entry in errors if " 400 " not in entry and " 401 " not in entry], [])
    ok(f"{len(requested)} requests, all to the service; the page logged no error")


def granted(request):
    """Returns the scopes of the token in a request, by introspection."""
    token = re.search(r"Bearer ([\w.-]+)", request)[1]
    headers = {"Authorization": f"Bearer {token}"}
    response = requests.post(f"{SERVER}/v1/token/introspect", data={"token": token}, headers=headers, timeout=30)
    return set(response.json()["scope"].split())


def main():
    user = {"email": "dora@example.org", "username": "dora", "password": PASSWORD}
    same(requests.post(f"{SERVER}/v1/users", json=user, timeout=30).status_code, 201)
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        walk(Page(browser))
    except WebDriverException as error:
        shown = browser.find_element(By.TAG_NAME, "body").text[-2000:]
        sys.exit(f"FAIL browser: {error.msg}\nthe page's end: {shown}")
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
