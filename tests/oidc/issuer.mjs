// An OpenID provider for the tests: `node issuer.mjs SETTINGS`, where SETTINGS is JSON with `url`, `port`, `jwks` (private keys)
// `provider`, the folder with the package oidc-provider, and `redirect`, where people who log in are sent back to.

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const { url, port, jwks, provider: folder, redirect, lifetime } = JSON.parse(process.argv[2])
const entry = createRequire(`${folder}/package.json`).resolve('oidc-provider')
const { default: Provider } = await import(pathToFileURL(entry))

// Signed access tokens for every resource that is asked for; without this they would be opaque.
const resourceServer = (_context, resource, client) => ({
  audience: resource,
  scope: 'infer',
  accessTokenTTL: lifetime,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: client.metadata().access_token_alg } },
})

const service = (id, alg) => ({
  client_id: id,
  client_secret: `secret-of-${id}`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  access_token_alg: alg,
})

const people = {
  client_id: 'console',
  client_secret: 'secret-of-console',
  grant_types: ['authorization_code'],
  redirect_uris: [redirect],
  response_types: ['code'],
}

// Any name and password; those whose name begins with `ops-` are of the group `ops`.
const findAccount = (_context, id) => ({
  accountId: id,
  claims: () => ({ sub: id, groups: [id.split('-')[0]] }),
})

const provider = new Provider(url, {
  jwks,
  cookies: { keys: ['the key of the cookies in the tests'] },
  extraClientMetadata: { properties: ['access_token_alg'] },
  clients: [service('batch', 'RS256'), service('batch-es', 'ES256'), service('batch-ed', 'EdDSA'), people],
  findAccount,
  claims: { openid: ['sub', 'groups'] },
  // The ID token has the claims, as with most providers.
  conformIdTokenClaims: false,
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
  },
  extraTokenClaims: (_context, token) => ({ tenant: 'acme', realm_access: { roles: ['caller', token.clientId] } }),
})

provider.listen(port, '127.0.0.1', () => console.log('listening'))
