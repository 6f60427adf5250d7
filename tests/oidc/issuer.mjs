// An OpenID provider for the tests: `node issuer.mjs SETTINGS`, where SETTINGS is JSON with `url`, `port`, `jwks` (private keys)
// and `provider`, the folder with the package oidc-provider.

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const { url, port, jwks, provider: folder } = JSON.parse(process.argv[2])
const entry = createRequire(`${folder}/package.json`).resolve('oidc-provider')
const { default: Provider } = await import(pathToFileURL(entry))

// Signed access tokens for every resource that is asked for; without this they would be opaque.
const resourceServer = (_context, resource, client) => ({
  audience: resource,
  scope: 'infer',
  accessTokenTTL: 300,
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

const provider = new Provider(url, {
  jwks,
  cookies: { keys: ['the key of the cookies in the tests'] },
  extraClientMetadata: { properties: ['access_token_alg'] },
  clients: [service('batch', 'RS256'), service('batch-es', 'ES256'), service('batch-ed', 'EdDSA')],
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
  },
  extraTokenClaims: (_context, token) => ({ tenant: 'acme', realm_access: { roles: ['caller', token.clientId] } }),
})

provider.listen(port, '127.0.0.1', () => console.log('listening'))
