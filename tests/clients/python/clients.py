"""requests-oauthlib, Authlib and httpx as clients, PyJWT as a verifier, each with its defaults."""

import json
import ssl
import sys
import urllib.request

import httpx
import jwt
from authlib.integrations.httpx_client import OAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session


def requests_oauthlib(given, credential):
    session = OAuth2Session(client=BackendApplicationClient(client_id=credential["id"]))
    token = session.fetch_token(
        given["tokenUrl"],
        client_id=credential["id"],
        client_secret=credential["secret"],
        verify=given["ca"],
    )
    return token["access_token"]


def authlib_requests(given, credential):
    with AuthlibSession(credential["id"], credential["secret"]) as session:
        token = session.fetch_token(given["tokenUrl"], grant_type="client_credentials", verify=given["ca"])
        return token["access_token"]


def authlib_post(given, credential):
    verify = ssl.create_default_context(cafile=given["ca"])
    with OAuth2Client(
        credential["id"], credential["secret"], token_endpoint_auth_method="client_secret_post", verify=verify
    ) as session:
        return session.fetch_token(given["tokenUrl"], grant_type="client_credentials")["access_token"]


def httpx_basic(given, credential):
    verify = ssl.create_default_context(cafile=given["ca"])
    with httpx.Client(verify=verify, trust_env=False) as client:
        answer = client.post(
            given["tokenUrl"],
            auth=(credential["id"], credential["secret"]),
            data={"grant_type": "client_credentials"},
        )
        answer.raise_for_status()
        return answer.json()["access_token"]


def pyjwt(given, token):
    context = ssl.create_default_context(cafile=given["ca"])
    with urllib.request.urlopen(given["issuer"] + "/.well-known/openid-configuration", context=context) as answer:
        discovered = json.load(answer)
    assert discovered["issuer"] == given["issuer"]
    keys = jwt.PyJWKClient(discovered["jwks_uri"], ssl_context=context)
    claims = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["RS256", "ES256", "EdDSA"],
        audience=given["audience"],
        issuer=given["issuer"],
        options={"require": ["exp", "iat", "sub", "jti"]},
    )
    return claims["client_id"]


def run(library, number, action, field):
    line = {"library": library, "credential": number}
    try:
        line[field] = action()
    except Exception as error:
        line["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(line), flush=True)
    return line.get(field)


def main():
    given = json.load(sys.stdin)
    clients = [
        ("requests-oauthlib", requests_oauthlib),
        ("Authlib, Basic", authlib_requests),
        ("Authlib, post", authlib_post),
        ("httpx", httpx_basic),
    ]
    for number, credential in enumerate(given["credentials"]):
        tokens = [run(name, number, lambda: client(given, credential), "token") for name, client in clients]
        token = next((token for token in tokens if token), "")
        run("PyJWT", number, lambda: pyjwt(given, token), "clientId")


main()
