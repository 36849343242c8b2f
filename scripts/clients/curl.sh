#!/usr/bin/env bash
# Tests with curl: register, sign in, send a frame, read its detections, receive alerts, read the quota, refresh, revoke.
#
#   scripts/clients/curl.sh SERVER PHOTO
set -euo pipefail
part=curl
source "$(dirname "$0")/lib.sh"
server=$1 photo=$2
password='lamp ostrich kettle'

# sign_in NAME: the tokens are in the response.
sign_in() { request 200 --data grant_type=password --data "username=$1" --data-urlencode "password=$password" "$server/v1/token"; }
bearer() { printf 'Authorization: Bearer %s' "$1"; }

for name in ann bob; do
  request 201 --json "{\"email\": \"$name@example.org\", \"username\": \"$name\", \"password\": \"$password\"}" "$server/v1/users"
done
request 422 --json '{"email": "eve@example.org", "password": "123456"}' "$server/v1/users"
ok "two users registered; a password that is too short was refused"

sign_in bob
bob=$(field access_token)
sign_in ann@example.org
token=$(field access_token)
refresh=$(field refresh_token)
grep --quiet --ignore-case '^cache-control: no-store' "$work/head" || fail "tokens may be cached: $(cat "$work/head")"
request 200 --header "$(bearer "$token")" "$server/v1/users/me"
check '.username == "ann" and .role == "user"'
request 401 "$server/v1/users/me"
ok "signed in with the e-mail address"

open_stream 1.1 "$server/v1/alerts" "$token"
request 202 --header "$(bearer "$token")" --header 'Content-Type: image/png' --data-binary "@$photo" \
  "$server/v1/frames?stream=gate-1"
frame=$(field frame_id)
within 30 request 200 --header "$(bearer "$token")" "$server/v1/frames/$frame"
check '[.detections[].label] == ["face"]'
request 200 --header "$(bearer "$token")" --header 'Prefer: wait=20' --form "file=@$photo" "$server/v1/frames?stream=gate-1"
check '[.detections[].label] == ["face"]'
second=$(field frame_id)
ok "two frames sent, raw and as a form; each has a face"

alerted() { events alert | jq --exit-status --slurp --arg frame "$1" 'map(select(.frame_id == $frame)) | length == 1'; }
within 10 alerted "$frame"
within 10 alerted "$second"
seen=$(events alert id | head -n 1)
# The stream does not end, so curl ends with its timeout: exit status 28.
again=$(curl --silent --no-buffer --max-time 2 --header "$(bearer "$token")" --header "Last-Event-ID: $seen" \
  "$server/v1/alerts") || [ $? = 28 ] || fail "the stream cannot be resumed"
! grep --quiet "$frame" <<<"$again" || fail "an alert was repeated: $again"
grep --quiet "$second" <<<"$again" || fail "an alert was not sent again: $again"
ok "one alert for each frame; the stream resumes after an id"

request 404 --header "$(bearer "$bob")" "$server/v1/frames/$frame"
request 200 --header "$(bearer "$bob")" "$server/v1/detections"
check '.items == []'
ok "another user does not see them"

request 200 --header "$(bearer "$token")" "$server/v1/users/me/quota"
check '.limit == 100 and .used == 2 and .remaining == 98'
ok "two frames of a hundred are used"

request 200 --data grant_type=refresh_token --data "refresh_token=$refresh" "$server/v1/token"
fresh=$(field access_token)
newest=$(field refresh_token)
[ "$newest" != "$refresh" ] || fail "the refresh token was not replaced"
request 400 --data grant_type=refresh_token --data "refresh_token=$refresh" "$server/v1/token"
check '.error == "invalid_grant"'
request 200 --header "$(bearer "$fresh")" "$server/v1/users/me"
ok "refreshed; a refresh token works once"

request 200 --data "token=$newest" "$server/v1/token/revoke"
for revoked in "$token" "$fresh"; do
  within 1 request 401 --header "$(bearer "$revoked")" "$server/v1/users/me"
  check '.code == "invalid_token"'
done
request 400 --data grant_type=refresh_token --data "refresh_token=$newest" "$server/v1/token"
check '.error == "invalid_grant"'
ended() { ! kill -0 "$stream" 2>/dev/null; }
within 6 ended
stream=
request 200 --header "$(bearer "$bob")" "$server/v1/users/me"
ok "revoked: refused everywhere, the open stream ended; another user is not affected"
