// The account calls of a client, one after the other: k6 run -e SERVER=http://127.0.0.1:8080 docs/load/accounts.js
//
// The server needs SIGHTLINE_RATE_LIMIT_RPS=none and SIGHTLINE_SIGN_INS_PER_ADDRESS=1000000, since all clients have one address. What is
// mailed does not come here, so the reset is asked for and refused; docs/load/accounts.py, which starts a server of its own, does all.
import http from 'k6/http';
import { check } from 'k6';

const server = __ENV.SERVER || 'http://127.0.0.1:8080';
const password = 'lamp ostrich kettle';

export const options = {
  scenarios: { clients: { executor: 'constant-vus', vus: 8, duration: '30s' } },
  thresholds: { checks: ['rate==1'] },
};

function json(method, path, body, token, name, expected) {
  const headers = { 'Content-Type': 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const text = body === null ? null : JSON.stringify(body);
  const answer = http.request(method, server + path, text, { headers, tags: { name } });
  check(answer, { [name]: (answer) => answer.status === expected });
  return answer;
}

function form(path, body, token, name, expected) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = http.post(server + path, body, { headers, tags: { name } });
  check(answer, { [name]: (answer) => answer.status === expected });
  return answer;
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
  json('POST', '/v1/password/reset', { token: 'slp_none', password }, null, 'reset refused', 422);
  const again = signIn('sign in again');
  const fresh = form('/v1/token', { grant_type: 'refresh_token', refresh_token: again.refresh_token }, null, 'refresh', 200).json();
  json('DELETE', '/v1/sessions', null, fresh.access_token, 'sign out everywhere', 204);
}
