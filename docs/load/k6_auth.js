// The reference system's flow of a user, in 14 calls of gRPC, twice a second. The token that resets the password is read from a mail.
// `scripts/shop-clients k6` runs it against its own server; SIGHTLINE_GRPC (host:port) and SIGHTLINE_MAIL_URL (the HTTP address of the mail
// sink) name another one, which needs the settings of a demo: docs/SECURITY.md.
import grpc from 'k6/net/grpc';
import http from 'k6/http';
import { check, fail } from 'k6';
import exec from 'k6/execution';

const address = __ENV.SIGHTLINE_GRPC || '127.0.0.1:50051';
const mails = __ENV.SIGHTLINE_MAIL_URL || 'http://127.0.0.1:8025';
const password = 'abc123';
const nextPassword = 'abc124';

export const options = {
  scenarios: {
    users: {
      executor: 'constant-arrival-rate', rate: 2, timeUnit: '1s', duration: `${__ENV.SECONDS || 30}s`, preAllocatedVUs: 10, maxVUs: 40,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    'grpc_req_duration{call:SignIn}': ['p(95)<400'],
    // Whatever hashes no password.
    'grpc_req_duration{cost:light}': [`p(95)<${__ENV.LIGHT_MS || 20}`],
  },
};

const client = new grpc.Client();
client.load(['../proto'], 'auth/v1/auth.proto');

// Calls a method; the answer must have the status.
function call(method, cost, request, status, token) {
  const params = { tags: { call: method, cost }, metadata: token ? { authorization: `Bearer ${token}` } : {}, timeout: '30s' };
  const response = client.invoke(`auth.v1.AuthenticationService/${method}`, request, params);
  if (!check(response, { [`${method} is answered as it must be`]: (response) => response.status === status })) {
    fail(`${method}: ${response.status} ${JSON.stringify(response.error)}`);
  }
  return response.message;
}

function mailedToken(email) {
  const mail = http.get(`${mails}/mails?wait=20s&to=${encodeURIComponent(email)}`, { tags: { name: 'mail' } });
  const found = /#token=(slp_[A-Za-z0-9_-]+)/.exec(mail.body || '');
  if (!check(found, { 'the mail has a token': (found) => found !== null })) fail(`no mail for ${email}: ${mail.status}`);
  return found[1];
}

export default function () {
  if (exec.vu.iterationInInstance === 0) client.connect(address, { plaintext: true });
  const email = `k6-${exec.vu.idInTest}-${exec.vu.iterationInInstance}-${Date.now()}@example.org`;

  call('SignUp', 'hash', { email, password }, grpc.StatusOK);
  const { tokens, user } = call('SignIn', 'hash', { email, password }, grpc.StatusOK);
  check(user, { 'the user is the one that signed up': (user) => user.email === email && user.role === 'ROLE_USER' });
  call('SignIn', 'hash', { email, password: 'wrong1' }, grpc.StatusUnauthenticated);
  const good = call('ValidateToken', 'light', { accessToken: tokens.accessToken }, grpc.StatusOK, tokens.accessToken);
  check(good, { 'a good token is valid': (good) => good.valid && good.user.email === email });
  const bad = call('ValidateToken', 'light', { accessToken: 'junk' }, grpc.StatusOK, tokens.accessToken);
  check(bad, { 'a bad token is not valid': (bad) => !bad.valid });
  call('RefreshToken', 'light', { refreshToken: tokens.refreshToken }, grpc.StatusOK);
  call('RefreshToken', 'light', { refreshToken: tokens.refreshToken }, grpc.StatusUnauthenticated);

  call('RequestPasswordReset', 'light', { email }, grpc.StatusOK);
  call('ResetPassword', 'light', { resetToken: 'abcABC', newPassword: nextPassword }, grpc.StatusPermissionDenied);
  const resetToken = mailedToken(email);
  call('ResetPassword', 'hash', { resetToken, newPassword: nextPassword }, grpc.StatusOK);
  call('ResetPassword', 'light', { resetToken, newPassword: nextPassword }, grpc.StatusPermissionDenied);

  const again = call('SignIn', 'hash', { email, password: nextPassword }, grpc.StatusOK).tokens;
  call('RevokeToken', 'light', { refreshToken: again.refreshToken }, grpc.StatusOK, again.accessToken);
  call('RevokeToken', 'light', { refreshToken: again.refreshToken }, grpc.StatusOK, again.accessToken);
}
