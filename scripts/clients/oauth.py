"""Tests with Authlib, an OAuth 2.0 client library: sign in, refresh automatically, introspect, revoke, and parse every error of
RFC 6749. Tests with PyJWT, as another service would use it: verify an access token with the published keys.

  scripts/clients/oauth.py SERVER
"""

import sys
import time

import jwt
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from requests.adapters import HTTPAdapter, Retry

SERVER = sys.argv[1]
TOKENS = f"{SERVER}/v1/token"
ME = f"{SERVER}/v1/users/me"
PASSWORD = "lamp ostrich kettle"


def ok(what):
    print(f"ok   oauth: {what}", flush=True)


def same(got, wanted):
    if got != wanted:
        sys.exit(f"FAIL oauth: {got!r} instead of {wanted!r}")


def session(*credentials, **settings):
    """Returns a client, without a secret a public one."""
    client = OAuth2Session(*credentials, token_endpoint=TOKENS, default_timeout=30, **settings)
    # Retries after a 429 or 503.
    retries = Retry(status=5, status_forcelist=[429, 503], allowed_methods=None, retry_after_max=5)
    client.mount(SERVER, HTTPAdapter(max_retries=retries))
    return client


def refused(error, call, *arguments, **options):
    """Checks that the library raises this OAuth error."""
    try:
        response = call(*arguments, **options)
    except OAuthError as raised:
        same(raised.error, error)
        if not raised.description:
            sys.exit(f"FAIL oauth: {error} has no description")
    else:
        sys.exit(f"FAIL oauth: {response!r} instead of {error}")


def rejected(error, token, keys, **expected):
    try:
        verified(token, keys, **expected)
    except error:
        return
    sys.exit(f"FAIL oauth: {expected}: the token is valid; expected {error.__name__}")


def verified(token, keys, audience="sightline", issuer=SERVER):
    key = keys.get_signing_key_from_jwt(token)
    needed = {"require": ["exp", "iat", "nbf", "sub", "iss", "aud", "jti"]}
    return jwt.decode_complete(token, key, algorithms=["EdDSA"], audience=audience, issuer=issuer, options=needed)


user = {"email": "carl@example.org", "username": "carl", "password": PASSWORD}
same(session().post(f"{SERVER}/v1/users", json=user, withhold_token=True).status_code, 201)

carl = session()
first = dict(carl.fetch_token(username="carl", password=PASSWORD))
same(carl.get(ME).json()["username"], "carl")
named = session("camera-app")
named.fetch_token(username="carl@example.org", password=PASSWORD, scope="detections:read alerts:read")
same(set(named.token["scope"].split()), {"detections:read", "alerts:read"})
same(named.get(f"{SERVER}/v1/detections").json()["items"], [])
same(named.post(f"{SERVER}/v1/detections", json={"label": "car"}).status_code, 403)
# The library sends a secret by HTTP Basic.
secret = session("camera-app", "secret")
secret.fetch_token(username="carl", password=PASSWORD)
same(secret.get(ME).status_code, 200)
ok("signed in: without a client id, with one and fewer scopes, and with an unnecessary secret")

refused("invalid_grant", session().fetch_token, username="carl", password="wrong password")
refused("invalid_grant", session().fetch_token, username="nobody", password=PASSWORD)
refused("invalid_scope", session().fetch_token, username="carl", password=PASSWORD, scope="everything")
refused("unsupported_grant_type", session().fetch_token, grant_type="client_credentials")
refused("invalid_request", session().fetch_token, grant_type="password", username="carl")
refused("invalid_grant", session().refresh_token, TOKENS, refresh_token="slr_nonsense")
ok("the library parses every error: password, user, scope, grant type, missing field")

refreshed = []
# The library refreshes a token that expires within its leeway; this leeway is longer than any lifetime.
eager = session(token=first, leeway=first["expires_in"] + 60, update_token=lambda new, **_: refreshed.append(dict(new)))
same(eager.get(ME).json()["username"], "carl")
same(len(refreshed), 1)
same(refreshed[0]["access_token"] != first["access_token"] and refreshed[0]["refresh_token"] != first["refresh_token"], True)
same(eager.get(ME).status_code, 200)
same(len(refreshed), 2)
refused("invalid_grant", session().refresh_token, TOKENS, refresh_token=refreshed[0]["refresh_token"])
ok("the library refreshes automatically; a refresh token works once")

keys = jwt.PyJWKClient(f"{SERVER}/.well-known/jwks.json")
carl.token = refreshed[-1]
access, refresh = carl.token["access_token"], carl.token["refresh_token"]
whole = verified(access, keys)
claims = whole["payload"]
same((whole["header"]["typ"], whole["header"]["alg"]), ("at+jwt", "EdDSA"))
same(claims["sub"], carl.get(ME).json()["id"])
same(set(claims["scope"].split()), set(carl.token["scope"].split()))
same(claims["exp"] - claims["iat"], carl.token["expires_in"])
head, body, signature = access.split(".")
rejected(jwt.InvalidSignatureError, f"{head}.{body}.{signature[:-8]}{'A' * 8}", keys)
rejected(jwt.InvalidAudienceError, access, keys, audience="another")
rejected(jwt.InvalidIssuerError, access, keys, issuer="https://example.org")
ok("the published keys verify an access token with its issuer, audience and lifetime, and refuse a changed one")

# A resource server introspects with its own API token.
created = secret.post(f"{SERVER}/v1/api-tokens", json={"name": "introspection", "scopes": ["detections:read"]})
same(created.status_code, 201)
service = session(token={"access_token": created.json()["token"], "token_type": "Bearer"})


def introspected(token, **options):
    response = service.introspect_token(f"{TOKENS}/introspect", token=token, auth=service.token_auth, **options)
    same(response.status_code, 200)
    return response.json()


def ended(token, **options):
    """Checks that a token is inactive within a second."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline and introspected(token, **options)["active"]:
        time.sleep(0.1)
    same(introspected(token, **options), {"active": False})


claimed = introspected(access)
same((claimed["active"], claimed["username"], claimed["token_type"], claimed["sub"]), (True, "carl", "Bearer", claims["sub"]))
for name in ("exp", "iat", "iss", "aud", "jti"):
    same(claimed[name], claims[name])
same(introspected(refresh, token_type_hint="refresh_token")["active"], True)
same(introspected(refresh), {"active": False})
same(introspected("nonsense"), {"active": False})
anonymous = session().introspect_token(f"{TOKENS}/introspect", token=access)
same((anonymous.status_code, anonymous.json()["error"]), (401, "invalid_client"))
ok("introspection describes a token to authenticated callers")

same(carl.revoke_token(f"{TOKENS}/revoke", token=access, token_type_hint="access_token").status_code, 200)
ended(access)
same(introspected(refresh, token_type_hint="refresh_token")["active"], True)
same(carl.revoke_token(f"{TOKENS}/revoke", token=refresh, token_type_hint="refresh_token").status_code, 200)
same(carl.revoke_token(f"{TOKENS}/revoke", token=refresh).status_code, 200)
ended(refresh, token_type_hint="refresh_token")
refused("invalid_grant", session().refresh_token, TOKENS, refresh_token=refresh)
same(secret.get(ME).status_code, 200)
ok("revocation ends an access token, then the session; other sessions stay valid")
