// A buyer's flow, in 14 calls of gRPC, twice a second: from the list to the bytes of the book. Before it, an admin uploads three books.
// `scripts/shop-clients k6` runs it against its own server; SIGHTLINE_GRPC (host:port) and SIGHTLINE_ADMIN_TOKEN name another one, which
// needs the settings of a demo: docs/SECURITY.md.
import grpc from 'k6/net/grpc';
import http from 'k6/http';
import { check, fail } from 'k6';
import exec from 'k6/execution';

const address = __ENV.SIGHTLINE_GRPC || '127.0.0.1:50051';
const admin = __ENV.SIGHTLINE_ADMIN_TOKEN;
const price = 1299;

export const options = {
  scenarios: {
    buyers: {
      executor: 'constant-arrival-rate', rate: 2, timeUnit: '1s', duration: `${__ENV.SECONDS || 30}s`, preAllocatedVUs: 10, maxVUs: 40,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    // Whatever hashes no password.
    'grpc_req_duration{cost:light}': [`p(95)<${__ENV.LIGHT_MS || 20}`],
  },
};

const client = new grpc.Client();
client.load(['../proto'], 'auth/v1/auth.proto', 'shop/v1/shop.proto');

// Calls a method; the answer must have the status.
function call(method, request, status, token, cost = 'light') {
  const params = { tags: { call: method, cost }, metadata: token ? { authorization: `Bearer ${token}` } : {}, timeout: '30s' };
  const service = method === 'SignUp' ? 'auth.v1.AuthenticationService' : 'shop.v1.ShopService';
  const response = client.invoke(`${service}/${method}`, request, params);
  if (!check(response, { [`${method} is answered as it must be`]: (response) => response.status === status })) {
    fail(`${method}: ${response.status} ${JSON.stringify(response.error)}`);
  }
  return response.message;
}

// A WAV file: a second of a tone.
function recording() {
  const rate = 8000;
  const bytes = new DataView(new ArrayBuffer(44 + 2 * rate));
  const text = (at, text) => [...text].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, 'RIFF');
  bytes.setUint32(4, 36 + 2 * rate, true);
  text(8, 'WAVEfmt ');
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, 'data');
  bytes.setUint32(40, 2 * rate, true);
  for (let i = 0; i < rate; i++) bytes.setInt16(44 + 2 * i, 8000 * Math.sin((2 * Math.PI * 440 * i) / rate), true);
  return bytes.buffer;
}

export function setup() {
  if (!admin) fail('SIGHTLINE_ADMIN_TOKEN is not set');
  client.connect(address, { plaintext: true });
  const run = Date.now();
  const content = recording();
  const books = [0, 1, 2].map((number) => {
    const title = `Load ${run} ${number}`;
    const request = { title, author: 'Jane Austen', priceCents: price, filename: 'load.wav', contentType: 'audio/wav' };
    const link = call('CreateUploadURL', request, grpc.StatusOK, admin, 'upload');
    const put = http.put(link.uploadUrl, content, { headers: { 'Content-Type': 'audio/wav' } });
    if (put.status !== 200) fail(`PUT: ${put.status} ${put.body}`);
    const { book } = call('CompleteUpload', { audiobookId: link.audiobookId }, grpc.StatusOK, admin, 'upload');
    if (book.status !== 'MEDIA_READY') fail(`the book is ${book.status}`);
    return { id: book.id, title };
  });
  client.close();
  return { books, bytes: content.byteLength };
}

export default function ({ books, bytes }) {
  if (exec.vu.iterationInInstance === 0) client.connect(address, { plaintext: true });
  const email = `k6-${exec.vu.idInTest}-${exec.vu.iterationInInstance}-${Date.now()}@example.org`;
  const [book, other] = books;

  const token = call('SignUp', { email, password: 'abc123' }, grpc.StatusOK, null, 'hash').tokens.accessToken;
  call('ListAudiobooks', { pageSize: 20 }, grpc.StatusOK, token);
  const found = call('ListAudiobooks', { pageSize: 20, query: book.title }, grpc.StatusOK, token);
  check(found, { 'the book is found': (found) => found.items.some((item) => item.id === book.id) });
  call('GetAudiobook', { id: book.id }, grpc.StatusOK, token);
  call('GetDescription', { audiobookId: book.id }, grpc.StatusOK, token);
  call('GetAudiobookStatus', { audiobookId: book.id }, grpc.StatusOK, token);
  call('AddToCart', { audiobookId: book.id }, grpc.StatusOK, token);
  call('AddToCart', { audiobookId: other.id }, grpc.StatusOK, token);
  call('RemoveFromCart', { audiobookId: other.id }, grpc.StatusOK, token);
  const cart = call('ViewCart', {}, grpc.StatusOK, token);
  check(cart, { 'the cart has one book': (cart) => cart.items.length === 1 && Number(cart.subtotalCents) === price });
  const order = call('Checkout', {}, grpc.StatusOK, token);
  check(order, { 'the order has its price': (order) => Number(order.totalCents) === price });
  const purchases = call('ListPurchases', {}, grpc.StatusOK, token);
  check(purchases, { 'the book is bought': (purchases) => purchases.items[0].orderId === order.orderId });
  const link = call('GetDownloadURL', { audiobookId: book.id }, grpc.StatusOK, token);
  call('GetDownloadURL', { audiobookId: other.id }, grpc.StatusPermissionDenied, token);

  const file = http.get(link.downloadUrl, { responseType: 'binary', tags: { name: 'download' } });
  check(file, { 'the link gives the file': (file) => file.status === 200 && file.body.byteLength === bytes });
}
