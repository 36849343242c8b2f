# Part of scripts/compose/run.sh, after production: the camera program sends the frames of a video and reports its streams.
# shellcheck shell=bash

[ "${address:-}" = https://localhost ] || fail "the part cameras needs the part production before it"
# As docs/DEPLOY.md says it.
printf 'Authorization: Bearer %s' "$token" | curl --fail --silent --show-error --cacert "$work/ca.pem" --header @- "$address/v1/api-tokens" \
  --json '{"name": "cameras", "scopes": ["frames:write"]}' | jq --raw-output .token >"$SECRETS_DIR/camera_token"
cat >"$SECRETS_DIR/cameras.yaml" <<YAML
cameras:
  - {stream: clip, url: /clip.mp4, fps: 5}
  - {stream: away, url: "rtsp://ann:lamp-ostrich@127.0.0.1:1/live"}
YAML
chmod 444 "$SECRETS_DIR"/camera{_token,s.yaml}
export CAMERAS_FILE=$SECRETS_DIR/cameras.yaml
cat >"$work/clip.yaml" <<YAML
services:
  camera: { volumes: ["$(clip):/clip.mp4:ro"] }
YAML
before=$COMPOSE_FILE
use "$docker/compose.yaml" "$docker/compose.tls.yaml" "$docker/compose.cameras.yaml" "$work/clip.yaml"
compose up --detach --wait camera

# Five frames of the second, and the face in each.
clip_is_counted() {
  call '/v1/frames?stream=clip&limit=100' | jq --exit-status '[.items[] | [.detections[].label] == ["face"]] == [true, true, true, true, true]'
}
states() { call /v1/streams | jq --raw-output '[.items[] | select(.state) | "\(.name) \(.state.state) \(.state.frames_sent)"] | join(", ")'; }
are_reported() { [ "$(states)" = 'away failed 0, clip ended 5' ]; }
within 30 clip_is_counted
within 20 are_reported
ok "the camera program sent the frames of a video; its streams are: $(states)"

status=$(curl --silent --cacert "$work/ca.pem" --header "Authorization: Bearer $(cat "$SECRETS_DIR/camera_token")" --output /dev/null \
  --write-out '%{http_code}' "$address/v1/frames")
[ "$status" = 403 ] || fail "the camera's token may read frames: status $status"
[ "$(networks camera)" = 'sightline_cameras ' ] || fail "the camera program is in the networks: $(networks camera)"
docker compose logs --no-log-prefix camera >"$work/service.log" 2>&1
# This line shows that the log was read.
grep --quiet away "$work/service.log" || fail "the log does not name the stream of the camera that is away: $(cat "$work/service.log")"
! grep --quiet --fixed-strings --regexp lamp-ostrich --regexp "$(cat "$SECRETS_DIR/camera_token")" "$work/service.log" \
  || fail "the log of the camera program has a credential"
ok "it can do nothing else, and its log has no credential"

# It begins anew after a crash, and frames that are sent again are the same frames.
ended_since() { call /v1/streams/clip | jq --raw-output '.state | select(.state == "ended" and .frames_sent == 5) | .since'; }
since=$(ended_since)
has_ended_again() { local now; now=$(ended_since) && [ -n "$now" ] && [ "$now" != "$since" ]; }
kill -KILL "$(state_of camera .State.Pid)"
within 40 has_ended_again
clip_is_counted || fail "the video was sent again, and its frames are: $(call '/v1/frames?stream=clip&limit=100')"
ok "after a crash it sent the video again, and no frame is there twice"
compose rm --stop --force camera
rm "$SECRETS_DIR"/camera{_token,s.yaml}
COMPOSE_FILE=$before
unset CAMERAS_FILE
