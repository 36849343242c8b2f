#!/usr/bin/env bash
# With curl: register, sign in, send a frame, read its detections, receive alerts, read the quota, refresh, revoke.
#
#   scripts/clients/curl.sh SERVER PHOTO
set -euo pipefail
part=curl
source "$(dirname "$0")/lib.sh"
server=$1 photo=$2
password='lamp ostrich kettle'

# sign_in NAME: the tokens are in the response.
sign_in() { ask 200 --data grant_type=password --data "username=$1" --data-urlencode "password=$password" "$server/v1/token"; }
bearer() { printf 'Authorization: Bearer %s' "$1"; }

for name in ann bob; do
  ask 201 --json "{\"email\": \"$name@example.org\", \"username\": \"$name\", \"password\": \"$password\"}" "$server/v1/users"
done
ask 422 --json '{"email": "eve@example.org", "password": "123456"}' "$server/v1/users"
ok "two users registered; a password that is too short was refused"

sign_in bob
bob=$(field access_token)
sign_in ann@example.org
token=$(field access_token)
refresh=$(field refresh_token)
grep --quiet --ignore-case '^cache-control: no-store' "$work/head" || fail "tokens may be cached: $(cat "$work/head")"
ask 200 --header "$(bearer "$token")" "$server/v1/users/me"
holds '.username == "ann" and .role == "user"'
ask 401 "$server/v1/users/me"
ok "signed in with the e-mail address"

open_stream "$server/v1/alerts" "$token"
ask 202 --header "$(bearer "$token")" --header 'Content-Type: image/png' --data-binary "@$photo" \
  "$server/v1/frames?stream=gate-1"
frame=$(field frame_id)
within 30 ask 200 --header "$(bearer "$token")" "$server/v1/frames/$frame"
holds '[.detections[].label] == ["face"]'
ask 200 --header "$(bearer "$token")" --header 'Prefer: wait=20' --form "file=@$photo" "$server/v1/frames?stream=gate-1"
holds '[.detections[].label] == ["face"]'
second=$(field frame_id)
ok "two frames sent, raw and as a form; there is a face on each"

alerted() { events alert | jq --exit-status --slurp --arg frame "$1" 'map(select(.frame_id == $frame)) | length == 1'; }
within 10 alerted "$frame"
within 10 alerted "$second"
seen=$(events alert id | head -n 1)
# The stream does not end, so curl ends with its timeout: exit status 28.
again=$(curl --silent --no-buffer --max-time 2 --header "$(bearer "$token")" --header "Last-Event-ID: $seen" \
  "$server/v1/alerts") || [ $? = 28 ] || fail "the stream cannot be resumed"
! grep --quiet "$frame" <<<"$again" || fail "an alert came a second time: $again"
grep --quiet "$second" <<<"$again" || fail "an alert did not come again: $again"
ok "one alert for each frame; the stream resumes after an id"

ask 404 --header "$(bearer "$bob")" "$server/v1/frames/$frame"
ask 200 --header "$(bearer "$bob")" "$server/v1/detections"
holds '.items == []'
ok "another user does not see them"

ask 200 --header "$(bearer "$token")" "$server/v1/users/me/quota"
holds '.limit == 100 and .used == 2 and .remaining == 98'
ok "two frames of a hundred are used"

ask 200 --data grant_type=refresh_token --data "refresh_token=$refresh" "$server/v1/token"
fresh=$(field access_token)
newest=$(field refresh_token)
[ "$newest" != "$refresh" ] || fail "a refresh token came twice"
ask 400 --data grant_type=refresh_token --data "refresh_token=$refresh" "$server/v1/token"
holds '.error == "invalid_grant"'
ask 200 --header "$(bearer "$fresh")" "$server/v1/users/me"
ok "refreshed; a refresh token works once"

ask 200 --data "token=$newest" "$server/v1/token/revoke"
for revoked in "$token" "$fresh"; do
  within 1 ask 401 --header "$(bearer "$revoked")" "$server/v1/users/me"
  holds '.code == "invalid_token"'
done
ask 400 --data grant_type=refresh_token --data "refresh_token=$newest" "$server/v1/token"
holds '.error == "invalid_grant"'
ended() { ! kill -0 "$stream" 2>/dev/null; }
within 6 ended
stream=
ask 200 --header "$(bearer "$bob")" "$server/v1/users/me"
ok "revoked: refused everywhere, the open stream ended; another user is not affected"
