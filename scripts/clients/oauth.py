"""With Authlib, an OAuth 2.0 client library, by its own calls: sign in, renew by itself, introspect, revoke, and be refused in
the words of RFC 6749; and with PyJWT, as another service does: verify an access token by the published keys.

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


def session(*client, **settings):
    """A client of the library's; without a secret it is a public one."""
    made = OAuth2Session(*client, token_endpoint=TOKENS, default_timeout=30, **settings)
    # Being told to slow down, it does.
    slower = Retry(status=5, status_forcelist=[429, 503], allowed_methods=None, retry_after_max=5)
    made.mount(SERVER, HTTPAdapter(max_retries=slower))
    return made


def refused(error, call, *arguments, **options):
    """What the library makes of a refusal."""
    try:
        answer = call(*arguments, **options)
    except OAuthError as told:
        same(told.error, error)
        if not told.description:
            sys.exit(f"FAIL oauth: {error} comes without a description")
    else:
        sys.exit(f"FAIL oauth: not {error}, but {answer!r}")


def rejected(error, token, keys, **expected):
    try:
        verified(token, keys, **expected)
    except error:
        return
    sys.exit(f"FAIL oauth: the token holds against {expected}, where there should be {error.__name__}")


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
# A library that must have a secret sends it in a header of its own.
secret = session("camera-app", "secret")
secret.fetch_token(username="carl", password=PASSWORD)
same(secret.get(ME).status_code, 200)
ok("signed in: without a client id, with one and narrower scopes, and with a secret that nobody asked for")

refused("invalid_grant", session().fetch_token, username="carl", password="wrong password")
refused("invalid_grant", session().fetch_token, username="nobody", password=PASSWORD)
refused("invalid_scope", session().fetch_token, username="carl", password=PASSWORD, scope="everything")
refused("unsupported_grant_type", session().fetch_token, grant_type="client_credentials")
refused("invalid_request", session().fetch_token, grant_type="password", username="carl")
refused("invalid_grant", session().refresh_token, TOKENS, refresh_token="slr_nonsense")
ok("the library reads every refusal: the password, the user, the scope, the grant, a field that is missing")

renewed = []
# The library renews what ends within its leeway; this one is longer than any access token lives.
hasty = session(token=first, leeway=first["expires_in"] + 60, update_token=lambda new, **_: renewed.append(dict(new)))
same(hasty.get(ME).json()["username"], "carl")
same(len(renewed), 1)
same(renewed[0]["access_token"] != first["access_token"] and renewed[0]["refresh_token"] != first["refresh_token"], True)
same(hasty.get(ME).status_code, 200)
same(len(renewed), 2)
refused("invalid_grant", session().refresh_token, TOKENS, refresh_token=renewed[0]["refresh_token"])
ok("the library renews by itself; a refresh token is good once")

keys = jwt.PyJWKClient(f"{SERVER}/.well-known/jwks.json")
carl.token = renewed[-1]
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
ok("an access token is verified by the published keys: whose, how long, what for; a changed one is not")

# As a service does that is shown a token: with an API token of its own.
made = secret.post(f"{SERVER}/v1/api-tokens", json={"name": "asks", "scopes": ["detections:read"]})
same(made.status_code, 201)
service = session(token={"access_token": made.json()["token"], "token_type": "Bearer"})


def told(token, **options):
    answer = service.introspect_token(f"{TOKENS}/introspect", token=token, auth=service.token_auth, **options)
    same(answer.status_code, 200)
    return answer.json()


def ended(token, **options):
    """Within a second, as is promised."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline and told(token, **options)["active"]:
        time.sleep(0.1)
    same(told(token, **options), {"active": False})


said = told(access)
same((said["active"], said["username"], said["token_type"], said["sub"]), (True, "carl", "Bearer", claims["sub"]))
for name in ("exp", "iat", "iss", "aud", "jti"):
    same(said[name], claims[name])
same(told(refresh, token_type_hint="refresh_token")["active"], True)
same(told(refresh), {"active": False})
same(told("nonsense"), {"active": False})
stranger = session().introspect_token(f"{TOKENS}/introspect", token=access)
same((stranger.status_code, stranger.json()["error"]), (401, "invalid_client"))
ok("introspection tells what a token is, to whoever has a credential")

same(carl.revoke_token(f"{TOKENS}/revoke", token=access, token_type_hint="access_token").status_code, 200)
ended(access)
same(told(refresh, token_type_hint="refresh_token")["active"], True)
same(carl.revoke_token(f"{TOKENS}/revoke", token=refresh, token_type_hint="refresh_token").status_code, 200)
same(carl.revoke_token(f"{TOKENS}/revoke", token=refresh).status_code, 200)
ended(refresh, token_type_hint="refresh_token")
refused("invalid_grant", session().refresh_token, TOKENS, refresh_token=refresh)
same(secret.get(ME).status_code, 200)
ok("revocation takes an access token, then the session; the other sessions stay")
