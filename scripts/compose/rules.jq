# The rules of docs/DEPLOY.md for `docker compose config --format json`. Prints a line for each service that breaks one.
def once: .key | IN("preflight", "secrets", "certs", "mongodb-init", "migrate", "topics", "database-roles", "audio-models");
# Secrets that docs/DEPLOY.md makes by a step of its own, in development too.
def made_by_a_step: IN("camera_token", "grafana_password");
# The address with which a service connects to the database. In development the volume has all of them.
def database_url: .value.environment.SIGHTLINE_DATABASE_URL_FILE // "" | ltrimstr("/run/secrets/");
def database_url_of: {
  "audio-worker": "database_url", "ingest-api": "database_url", "shop-api": "database_url", "migrate": "database_url", "dev": "database_url",
  "alert-stream": "verifier_database_url", "faces": "faces_database_url", "detector-worker": "worker_database_url"
};
def values: (.value.environment // {}) | to_entries[] | select(.value != null) | .value |= tostring;
# Rules for the passwords that users choose.
def rule_for_passwords: IN("SIGHTLINE_PASSWORD_MIN_LENGTH", "SIGHTLINE_PASSWORD_REFUSE_COMMON");
def is_password: (.value | test("://[^/]*:[^/]*@"))
  or ((.key | test("PASSWORD|TOKEN$") and (rule_for_passwords | not)) and (.value | startswith("/run/") | not));

def broken($development):
  if .value.logging.options."max-size" == null or .value.logging.options."max-file" == null then "no limit of its log" else empty end,
  if (once | not) and .key != "dev" and .value.restart != "always" then "it stays away after a crash of the engine" else empty end,
  if (once | not) and .value.mem_limit == null then "no limit of its memory" else empty end,
  if (once or .key == "dev" | not) and ((.value.security_opt // []) | index("no-new-privileges:true") | not)
  then "it may gain privileges" else empty end,
  if (once or .key == "dev" | not) and .value.healthcheck.test == null then "no health check" else empty end,
  if (.value.healthcheck.test // []) | join(" ") | test("mongosh|kafka-") then "its check starts Java or Node" else empty end,
  if .value.image // "" | test(":(latest|[0-9]+)$|^[^:]*$") then "a floating image" else empty end,
  if (.value.image | IN("sightline:dev", "sightline-camera:dev", "sightline-audio-models:dev")) and .value.pull_policy != "never"
  then "our image would be looked for in a registry" else empty end,
  if any(values; is_password) then "a password in its settings" else empty end,
  if (.key | IN("mongodb", "postgres", "redis")) and ((.value.ports // []) != [] or (.value.networks | keys) != ["data"])
  then "a database outside of its network" else empty end,
  if .key == "camera" and ((.value.networks | keys) != ["cameras"] or .value.read_only != true or .value.cap_drop != ["ALL"]
    or (.value.ports // []) != [] or [.value.secrets[].source] != ["camera_token"])
  then "what reads foreign videos has more than it needs" else empty end,
  # With compose.faces-uploads.yaml it reads the log, and otherwise it cannot reach it.
  if .key == "faces" and ((.value.environment | has("SIGHTLINE_FACES_UPLOADS_DIR")) as $uploads
    | (.value.networks | keys) != (if $uploads then ["bus", "data", "edge"] else ["data", "edge"] end)
      or .value.read_only != true or .value.cap_drop != ["ALL"]
      or any(.value.environment | keys[]; test("KAFKA")) != $uploads)
  then "what decodes foreign images has more than it needs" else empty end,
  # With compose.audio.yaml it reads the log, and otherwise it cannot reach it.
  if .key == "shop-api" and ((.value.environment | has("SIGHTLINE_AUDIO")) as $audio
    | (.value.networks | keys) != (if $audio then ["bus", "data", "edge"] else ["data", "edge"] end)
      or .value.read_only != true or .value.cap_drop != ["ALL"]
      or any(.value.environment | keys[]; test("KAFKA")) != $audio
      or any(.value.environment | keys[]; test("MONGODB|BLOB")))
  then "what decodes foreign recordings has more than it needs" else empty end,
  if .key == "audio-worker" and ((.value.ports // []) != [] or .value.read_only != true or .value.cap_drop != ["ALL"]
    or any(.value.environment | keys[]; test("MONGODB|BLOB|REDIS|ADMIN_TOKEN")))
  then "what decodes foreign recordings has more than it needs" else empty end,
  if database_url as $url | $url != "" and $url != database_url_of[.key]
  then "it connects to the database with another role than its own" else empty end,
  # Development makes its secrets itself, in a volume, so there are no files.
  if $development and any((.value.secrets // [])[]; .source | made_by_a_step | not)
  then "its secrets are files, which development does not have" else empty end,
  # Development has all secrets in one volume.
  if .key == "detector-worker" and ((.value.secrets // []) | map(.source) - ["worker_database_url"]) != []
  then "what decodes foreign images has more than it needs" else empty end,
  if .key == "kafdrop" and (.value.environment.CMD_ARGS | test("deleteEnabled=false.*createEnabled=false") | not)
  then "it may delete topics" else empty end,
  if any((.value.ports // [])[]; .host_ip != "127.0.0.1") and .key != "nginx" then "published beyond this machine" else empty end;

(.services.secrets != null) as $development | .services | to_entries[] | "\(.key): \(broken($development))"
