// The account requests of a client in sequence, by eight clients at once. `scripts/load-accounts` runs it against its own
// server; on another server: k6 run -e SERVER=http://127.0.0.1:8080 -e DURATION=30s docs/load/accounts.js
//
// The server needs SIGHTLINE_RATE_LIMIT_RPS=none, and SIGHTLINE_TRUSTED_PROXIES with the address of this machine: sign-ins and
// resets are limited by address, so every round sends its own X-Forwarded-For. This script cannot read mails, so a reset is
// requested and a wrong reset token is refused; docs/load/accounts.py reads the mailed token and completes the reset.
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';

const server = __ENV.SERVER || 'http://127.0.0.1:8080';
const password = 'lamp ostrich kettle';

export const options = {
  scenarios: { clients: { executor: 'constant-vus', vus: 8, duration: __ENV.DURATION || '30s' } },
  thresholds: { checks: ['rate==1'] },
};

// Returns an address for this round, in 10.0.0.0/8.
function addressOfRound() {
  const round = exec.vu.iterationInInstance;
  return `10.${exec.vu.idInTest % 256}.${(round >> 8) % 256}.${round % 256}`;
}

function headersWith(token) {
  const headers = { 'X-Forwarded-For': addressOfRound() };
  if (token) headers.Authorization = `Bearer ${token}`;
  return headers;
}

function json(method, path, body, token, name, expected) {
  const headers = { ...headersWith(token), 'Content-Type': 'application/json' };
  const text = body === null ? null : JSON.stringify(body);
  const response = http.request(method, server + path, text, { headers, tags: { name } });
  check(response, { [name]: (response) => response.status === expected });
  return response;
}

function form(path, body, token, name, expected) {
  const response = http.post(server + path, body, { headers: headersWith(token), tags: { name } });
  check(response, { [name]: (response) => response.status === expected });
  return response;
}

export default function () {
  const username = `u${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`;
  const email = `${username}@example.org`;
  const signIn = (name) => form('/v1/token', { grant_type: 'password', username, password }, null, name, 200).json();

  json('POST', '/v1/users', { email, username, password }, null, 'register', 201);
  const first = signIn('sign in');
  const token = first.access_token;
  json('GET', '/v1/users/me', null, token, 'profile', 200);
  form('/v1/token/introspect', { token }, token, 'validate', 200);
  json('GET', '/v1/users/me/quota', null, token, 'quota', 200);
  json('GET', '/v1/sessions', null, token, 'sessions', 200);
  json('POST', '/v1/api-tokens', { name: 'x', scopes: ['frames:write'] }, token, 'API token', 201);
  form('/v1/token/revoke', { token: first.refresh_token }, null, 'revoke', 200);
  json('GET', '/v1/users/me', null, token, 'revoked is refused', 401);
  json('POST', '/v1/password/forgot', { email }, null, 'request reset', 202);
  json('POST', '/v1/password/reset', { token: `slp_${username}`, password }, null, 'reset refused', 422);
  const again = signIn('sign in again');
  const fresh = form('/v1/token', { grant_type: 'refresh_token', refresh_token: again.refresh_token }, null, 'refresh', 200).json();
  json('DELETE', '/v1/sessions', null, fresh.access_token, 'sign out everywhere', 204);
}
