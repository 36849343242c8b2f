#!/usr/bin/env python3
"""Checkouts of the same cart at once: with one key, with a key each, and with none. Each time the user has one order, one payment, and each
book once. On the embedded database the tables are compared too.
"""

import threading
import uuid

from server import Server, check, publish, recording, register

AT_ONCE = 100
BOOKS = 3
# The order that all meet at, or the reasons why a checkout that came later is refused.
LATER = {(409, "cart_empty"), (409, "checkout_running"), (409, "already_owned")}


def at_once(server, token, keys):
    """Checks out with each key at the same time; returns the answers."""
    begin, answers, failed = threading.Barrier(len(keys)), [], []

    def one(key):
        client = server.client()
        try:
            # Opens the connection.
            client.ask(200, "GET", "/v1/cart", token)
            begin.wait(60)
            answer = client.send("POST", "/v1/checkout", token, headers={} if key is None else {"Idempotency-Key": key})
            answers.append((answer.status, answer.code if answer.status != 200 else answer.json["id"]))
        except Exception as error:  # noqa: BLE001: reported below
            failed.append(error)
            begin.abort()

    threads = [threading.Thread(target=one, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not failed, f"{len(failed)} clients failed, the first by {failed[:1]}")
    return answers


def compare(server, name, order):
    """Compares the tables for the user of an order."""
    user = f"SELECT user_id FROM orders WHERE id = '{order}'"
    counted = server.rows(
        f"SELECT (SELECT count(*) FROM mock_payments m JOIN orders o ON o.id = m.order_id WHERE o.user_id = ({user}) AND m.state = 'paid'),"
        f" (SELECT count(*) FROM payments p JOIN orders o ON o.id = p.order_id WHERE o.user_id = ({user})),"
        f" (SELECT count(*) FROM entitlements WHERE user_id = ({user}) AND revoked_at IS NULL)"
    )
    check(counted == [(1, 1, BOOKS)], f"{name}: payments at the mock, payments, books: {counted}")


def main():
    with Server() as server:
        client, admin = server.client(), server.admin
        books = [publish(client, admin, recording(200_000), 500 + number) for number in range(BOOKS)]
        same = str(uuid.uuid4())
        for name, keys in (
            ("one key", [same] * AT_ONCE),
            ("a key each", [str(uuid.uuid4()) for _ in range(AT_ONCE)]),
            ("no key", [None] * AT_ONCE),
        ):
            token = register(client)
            for book in books:
                client.ask(200, "PUT", f"/v1/cart/{book}", token)
            answers = at_once(server, token, keys)
            orders = {answer for status, answer in answers if status == 200}
            refusals = {answer for answer in answers if answer[0] != 200}
            check(len(orders) == 1, f"{name}: {len(orders)} orders: {orders}")
            check(refusals <= LATER and (name != "one key" or not refusals), f"{name}: refused with {refusals}")
            listed = client.ask(200, "GET", "/v1/orders", token).json["items"]
            paid = [order["id"] for order in listed if order["status"] == "paid"]
            check(paid == list(orders), f"{name}: the user has the orders {listed}")
            bought = sorted(item["book"]["id"] for item in client.ask(200, "GET", "/v1/purchases", token).json["items"])
            check(bought == sorted(books), f"{name}: the user has bought {bought}")
            if server.is_embedded:
                compare(server, name, paid[0])
            print(f"{AT_ONCE} checkouts at once with {name}: one order, one payment, {BOOKS} books; {len(answers) - len(refusals)} answers"
                  " were the order", flush=True)


if __name__ == "__main__":
    main()
