// A certified OpenID provider for the tests, at http://127.0.0.1:$1, with the package's own pages for sign-in and consent.
// This file configures its clients and the claims about its users.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';

const port = process.argv[2];
const issuer = `http://127.0.0.1:${port}`;
const callback = 'http://127.0.0.1:8080/v1/oidc/callback';

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'first', use: 'sig', alg: 'RS256' };

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'sightline-web', client_secret: 'a-secret-of-the-client', redirect_uris: [callback] },
    { client_id: 'sightline-open', token_endpoint_auth_method: 'none', redirect_uris: [callback] },
    {
      client_id: 'sightline-phone',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['org.example.phone:/back'],
    },
    {
      client_id: 'somebody-else',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['org.example.phone:/back'],
    },
  ],
  // Every name is a user. Users named unproven-… have an unverified address.
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@people.example`,
      email_verified: !id.startsWith('unproven-'),
      name: `Name of ${id}`,
    }),
  }),
  claims: { email: ['email', 'email_verified'], profile: ['name'] },
  jwks: { keys: [key] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  pkce: { methods: ['S256'], required: () => true },
  features: { devInteractions: { enabled: true } },
});

provider.on('server_error', (_, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log(`ready on ${issuer}`));
