// A real OpenID provider (npm oidc-provider) on loopback, whose person answers at once as POST /answer says.
// Prints its address once it listens, and ends with its standard input.

import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const people = {
  anna: { sub: 'anna', email: 'anna@acme.example', email_verified: true, groups: ['developers', 'sre-oncall'] },
  ben: { sub: 'ben', email: 'ben@acme.example', email_verified: true, groups: [] },
  root: { sub: 'root', email: 'root@acme.example', email_verified: true, groups: ['platform'] },
}
let person = 'anna' // '' denies

const client = {
  application_type: 'native', // its loopback addresses may have any port
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
  redirect_uris: ['http://127.0.0.1/callback', 'http://127.0.0.1/v1/login/oidc/callback'],
  response_types: ['code'],
}
const configuration = {
  clients: [
    { ...client, client_id: 'repave', client_secret: 's3cret-of-the-client:+%', token_endpoint_auth_method: 'client_secret_basic' },
    { ...client, client_id: 'repave-posting', client_secret: 'another-secret', token_endpoint_auth_method: 'client_secret_post' },
    { ...client, client_id: 'repave-public', token_endpoint_auth_method: 'none' },
    { ...client, client_id: 'repave-ec', token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'ES256' },
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'email', 'groups'],
  cookies: { keys: ['only for tests'] },
  features: { devInteractions: { enabled: false }, deviceFlow: { enabled: true }, userinfo: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: () => people[id] }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: JSON.parse(process.env.OIDC_KEYS) },
  pkce: { required: () => true, methods: ['S256'] },
}

async function answered(provider, request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response)
  let result = { login: { accountId: person } }
  if (!person) result = { error: 'access_denied', error_description: 'the person said no' }
  else if (prompt.name === 'consent') {
    const grant = new provider.Grant({ accountId: person, clientId: params.client_id })
    grant.addOIDCScope(params.scope)
    result = { consent: { grantId: await grant.save() } }
  }
  await provider.interactionFinished(request, response, result)
}

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, configuration)
  const handle = provider.callback()
  server.on('request', (request, response) => {
    if (request.url.startsWith('/answer?')) {
      person = new URL(request.url, issuer).searchParams.get('person')
      response.end()
    } else if (request.url.startsWith('/interaction/')) {
      answered(provider, request, response).catch((error) => response.writeHead(500).end(String(error)))
    } else handle(request, response)
  })
  console.log(issuer)
})
process.stdin.resume().on('end', () => process.exit(0))
