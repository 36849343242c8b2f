# Part of scripts/compose/run.sh, after production: a book from upload to download through nginx, and gRPC over its TLS.
# shellcheck shell=bash disable=SC2034 # `call` reads token.

[ "${address:-}" = https://localhost ] || fail "the part shop needs the part production before it"
[ "$(networks shop-api)" = 'sightline_data sightline_edge ' ] || fail "the shop is in the networks: $(networks shop-api)"

# A recording of two seconds: a WAV file of noise, 8,000 samples a second of 16 bits.
recording=$work/emma.wav
{
  printf 'RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00'
  head -c 32000 /dev/urandom
} >"$recording"
books() { SIGHTLINE_TOKEN=$token "$sightline" books "$@" --server "$address" --cacert "$work/ca.pem"; }
line=$(books upload "$recording" --title Emma --author 'Jane Austen' --price 12.99) || fail "the upload through nginx"
book=${line%% *}
[ "$line" = "$book ready 12.99 EUR Emma, Jane Austen" ] || fail "another line about the book: $line"
[ "$(books list)" = "$line" ] || fail "the list of books: $(books list)"
ok "a recording was uploaded through nginx, and its book is for sale"

call /v1/users --json '{"username": "reader", "email": "reader@example.org", "password": "lamp ostrich kettle"}' >"$work/user.json"
reader=$(call /v1/token --data grant_type=password --data username=reader --data-urlencode 'password=lamp ostrich kettle' \
  | jq --exit-status --raw-output .access_token) || fail "the reader cannot sign in: $(cat "$work/user.json")"
# as_reader PATH ARGUMENT…: `call` as the reader.
as_reader() { token=$reader call "$@"; }
[ "$(as_reader "/v1/books/$book/download" --request POST | jq --raw-output .code)" = not_bought ] || fail "a book is downloaded before it is bought"
as_reader "/v1/cart/$book" --request PUT --output /dev/null
for _ in 1 2; do as_reader /v1/checkout --request POST --header 'Idempotency-Key: one' | jq --raw-output '.id + " " + .status'; done >"$work/orders"
[ "$(sort --unique "$work/orders" | wc -l)" = 1 ] || fail "a repeat is another order: $(cat "$work/orders")"
read -r order status <"$work/orders"
[ "$status" = paid ] || fail "the order is $status"
link=$(as_reader "/v1/books/$book/download" --request POST | jq --exit-status --raw-output .download_url) || fail "no link"
fetch() { curl --silent --show-error --max-time 60 --cacert "$work/ca.pem" "$link" "$@"; }
fetch --output "$work/downloaded.wav"
cmp "$recording" "$work/downloaded.wav" || fail "the download is another file"
fetch --range 100-199 --output "$work/range"
cmp <(tail --bytes +101 "$recording" | head --bytes 100) "$work/range" || fail "the range has other bytes"
call "/v1/orders/$order/refund" --json '{"reason": "a check"}' --output /dev/null
is_dead() { [ "$(fetch --output /dev/null --write-out '%{http_code}')" = 404 ]; }
within 5 is_dead
docker compose logs --no-color nginx ingest-api shop-api >"$work/service.log" 2>&1
! grep --quiet --fixed-strings "${link##*/}" "$work/service.log" || fail "a link is in a log"
ok "it was bought once, downloaded whole and in part, and a refund ended its link, which is in no log"

# The answer of the health service: a message of two bytes, which says SERVING.
serving=00000000020801
check() { # check CONTENT_TYPE ARGUMENT…
  local type=$1
  shift
  printf '\0\0\0\0\0' | curl --silent --show-error --max-time 20 --cacert "$work/ca.pem" --header "Content-Type: $type" --header 'TE: trailers' \
    --data-binary @- "$@" "$address/grpc.health.v1.Health/Check" | od --address-radix=n --format=x1 | tr --delete ' \n'
}
[ "$(check application/grpc --http2)" = "$serving" ] || fail "gRPC through nginx: $(check application/grpc --http2)"
[[ $(check application/grpc-web+proto) = "$serving"* ]] || fail "grpc-web through nginx: $(check application/grpc-web+proto)"
ok "gRPC and grpc-web answer at the public address"
