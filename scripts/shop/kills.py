#!/usr/bin/env python3
"""Kills the server with -9 while users check out, and compares what they have with the books of the payment provider.

  kills.py [KILLS]     default: 100

Sixteen clients buy books at the same time, so that at any moment some orders are between their payment and their grant; the script counts
how many kills met such an order. Most clients repeat their checkout with the same key until it is answered; a quarter never does, so the
server itself must finish those orders. At the end every user has the books of its paid orders and no others. On the embedded database, which the
mock's books are in too, those are compared with the orders.
"""

import http.client
import random
import sys
import threading
import time
import uuid

from server import PASSWORD, Server, check, publish, recording

CLIENTS = 16
BOOKS = 5
# The reconciler looks at orders that are a minute old.
PATIENCE = 240

# Orders whose payment was taken, and which are not granted yet.
BETWEEN = "SELECT count(*) FROM mock_payments m JOIN orders o ON o.id = m.order_id WHERE m.state = 'paid' AND o.status = 'pending'"
# What must not be.
WRONG = {
    "payments whose order is not paid": "SELECT m.order_id, m.state, o.status FROM mock_payments m LEFT JOIN orders o ON o.id = m.order_id"
    " WHERE m.state = 'paid' AND (o.status IS NULL OR o.status <> 'paid')",
    "paid orders without a payment": "SELECT o.id FROM orders o LEFT JOIN mock_payments m ON m.order_id = o.id"
    " WHERE o.status = 'paid' AND (m.state IS NULL OR m.state <> 'paid')",
    "payments of another amount": "SELECT o.id, o.total_minor, m.amount_minor FROM orders o JOIN mock_payments m ON m.order_id = o.id"
    " WHERE o.total_minor <> m.amount_minor OR o.currency <> m.currency",
    "paid orders with a book that is not granted": "SELECT o.id, l.book_id FROM orders o JOIN order_lines l ON l.order_id = o.id"
    " LEFT JOIN entitlements e ON e.user_id = o.user_id AND e.book_id = l.book_id AND e.revoked_at IS NULL"
    " WHERE o.status = 'paid' AND e.order_id IS NULL",
    "books that were granted without a paid order": "SELECT e.user_id, e.book_id FROM entitlements e JOIN orders o ON o.id = e.order_id"
    " WHERE o.status <> 'paid'",
    "books that were paid twice": "SELECT o.user_id, l.book_id FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE o.status = 'paid'"
    " GROUP BY o.user_id, l.book_id HAVING count(*) > 1",
    "refunds that nobody asked for": "SELECT id FROM orders WHERE status IN ('refunding', 'refunded')",
}


class Buyers:
    """Clients that buy until they are told to stop."""

    def __init__(self, server, books):
        self.server, self.books = server, books
        self.stopping, self.lock = threading.Event(), threading.Lock()
        # The token of each user that began to check out, its books, and its order if that was answered.
        self.users, self.abandoned, self.failed = [], 0, []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        check(not self.failed, f"{len(self.failed)} clients failed, the first by {self.failed[:1]!r}")

    def run(self):
        client = self.server.client()
        try:
            while not self.stopping.is_set():
                self.round(client)
        except Exception as error:  # noqa: BLE001: reported when all have stopped
            self.failed.append(error)

    def until_answered(self, client, *request, **options):
        """Repeats a request while the server is down."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                answer = client.send(*request, **options)
                if answer.status < 500 and answer.status != 429 and answer.code != "checkout_running":
                    return answer
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise TimeoutError(f"{request[:2]} was not answered for two minutes")

    def round(self, client):
        """A new user buys some books."""
        name = f"u{uuid.uuid4().hex}"
        body = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        made = self.until_answered(client, "POST", "/v1/users", body=body)
        # 409: an earlier attempt made it, and its answer was lost.
        if made.status not in (201, 409):
            raise AssertionError(f"POST /v1/users: {made.status} {made.body!r}")
        form = [("grant_type", "password"), ("username", name), ("password", PASSWORD)]
        token = self.until_answered(client, "POST", "/v1/token", body=form).json["access_token"]
        books = random.sample(self.books, random.randint(1, 3))
        for book in books:
            added = self.until_answered(client, "PUT", f"/v1/cart/{book}", token)
            if added.status != 200:
                raise AssertionError(f"PUT /v1/cart: {added.status} {added.body!r}")
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if random.random() < 0.25:
            answered = True
            try:
                client.send("POST", "/v1/checkout", token, headers=headers)
            except (OSError, http.client.HTTPException):
                answered = False
            with self.lock:
                self.abandoned += not answered
                self.users.append((token, books, None))
            return
        order = self.until_answered(client, "POST", "/v1/checkout", token, headers=headers)
        if order.status != 200:
            raise AssertionError(f"POST /v1/checkout: {order.status} {order.body!r}")
        with self.lock:
            self.users.append((token, books, order.json["id"]))


def await_grants(server):
    """Waits until no order is between its payment and its grant. An order that nobody paid stays pending for half an hour: its user may
    still pay it."""
    deadline = time.monotonic() + PATIENCE
    while server.rows(BETWEEN)[0][0] > 0:
        check(time.monotonic() < deadline, f"orders that were paid are pending after {PATIENCE} s: {server.rows(BETWEEN)[0][0]}")
        time.sleep(1)


def compare(server, users):
    """Asks all users what they ordered and have; then compares the tables. Returns the number of orders."""
    if server.is_embedded:
        await_grants(server)
    client, made = server.client(), 0
    for token, books, answered in users:
        orders = client.ask(200, "GET", "/v1/orders", token).json["items"]
        paid = [order for order in orders if order["status"] == "paid"]
        check(len(paid) <= 1, f"a user paid more than once for one cart: {orders}")
        check(answered is None or [order["id"] for order in paid] == [answered], f"the order {answered} was answered; the user has {orders}")
        bought = sorted(item["book"]["id"] for item in client.ask(200, "GET", "/v1/purchases", token).json["items"])
        check(bought == (sorted(books) if paid else []), f"a user with the orders {orders} has the books {bought}")
        made += len(paid)
    if server.is_embedded:
        for name, query in WRONG.items():
            rows = server.rows(query)
            check(not rows, f"{len(rows)} {name}: {rows[:3]}")
    return made


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    # The users are asked at the end too.
    with Server({"SIGHTLINE_ACCESS_TOKEN_SECONDS": "86400"}) as server:
        client, admin = server.client(), server.admin
        books = [publish(client, admin, recording(200_000), 500 + number) for number in range(BOOKS)]
        buyers = Buyers(server, books)
        between = orders = 0
        for number in range(kills):
            # The clients need some time to come to their checkouts again.
            time.sleep(random.uniform(0.1, 1.0))
            server.kill()
            if server.is_embedded:
                met = server.rows(BETWEEN)[0][0]
                between, orders = between + (met > 0), orders + met
            server.start()
            if (number + 1) % 10 == 0:
                print(f"{number + 1} kills, {len(buyers.users)} users", flush=True)
        buyers.stop()
        paid = compare(server, buyers.users)
        print(f"{kills} kills, {len(buyers.users)} users, {paid} paid orders; {buyers.abandoned} clients never asked again: every paid order is"
              " granted, nothing was paid twice", flush=True)
        if server.is_embedded:
            print(f"{between} kills met {orders} orders between payment and grant; the mock's books are the orders", flush=True)
            check(kills < 20 or between > 0, "no kill met an order between its payment and its grant, so this has shown nothing")


if __name__ == "__main__":
    main()
