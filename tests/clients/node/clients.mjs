// openid-client and simple-oauth2 as clients, jose as a verifier, each with its defaults. The CA is NODE_EXTRA_CA_CERTS.

import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as openid from 'openid-client'
import { ClientCredentials } from 'simple-oauth2'

const given = JSON.parse(readFileSync(0, 'utf8'))
const tokenUrl = new URL(given.tokenUrl)

async function discovered(credential, authentication) {
  const issuer = new URL(given.issuer)
  const found = await openid.discovery(issuer, credential.id, credential.secret, authentication?.(credential.secret))
  return (await openid.clientCredentialsGrant(found)).access_token
}

async function simpleOauth2(credential, options) {
  const client = new ClientCredentials({
    client: { id: credential.id, secret: credential.secret },
    auth: { tokenHost: tokenUrl.origin, tokenPath: tokenUrl.pathname },
    options,
  })
  return (await client.getToken({})).token.access_token
}

async function jose(token) {
  const answer = await fetch(`${given.issuer}/.well-known/oauth-authorization-server`)
  const keys = createRemoteJWKSet(new URL((await answer.json()).jwks_uri))
  const { payload } = await jwtVerify(token, keys, { issuer: given.issuer, audience: given.audience, typ: 'at+jwt' })
  return payload.client_id
}

async function run(library, credential, action, field) {
  const line = { library, credential }
  try {
    line[field] = await action()
  } catch (error) {
    line.error = `${error} ${error.cause ? JSON.stringify(error.cause) : ''}`
  }
  console.log(JSON.stringify(line))
  return line[field]
}

const clients = [
  ['openid-client', credential => discovered(credential)],
  ['openid-client, Basic', credential => discovered(credential, openid.ClientSecretBasic)],
  ['simple-oauth2', credential => simpleOauth2(credential, {})],
  ['simple-oauth2, body', credential => simpleOauth2(credential, { authorizationMethod: 'body' })],
  ['simple-oauth2, loose', credential => simpleOauth2(credential, { credentialsEncodingMode: 'loose' })],
]
for (const [number, credential] of given.credentials.entries()) {
  let token
  for (const [name, client] of clients) token = (await run(name, number, () => client(credential), 'token')) ?? token
  await run('jose', number, () => jose(token ?? ''), 'clientId')
}
