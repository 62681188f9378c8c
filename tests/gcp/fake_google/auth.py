"""Who calls: a service account with a key made at start, and the tokens that the fake gives out and accepts."""

import json
import secrets
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .errors import ApiError

PROJECT = "fake-project"
ISSUER = "https://accounts.google.com"
HOUR = 3600
# What Google allows a clock to be wrong by.
LEEWAY = 60
# Google's Python library names this audience, wherever the request goes.
AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Auth:
    """The keys, and which tokens are good."""

    def __init__(self, url):
        self.url = url
        self.account = f"fake@{PROJECT}.iam.gserviceaccount.com"
        self.key_id = secrets.token_hex(20)
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public = self.private.public_key()
        self.access = {}
        self.seen = {}

    def key_file(self):
        """The service account's key, as Google's console would hand it out."""
        return json.dumps({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": self.key_id,
            "private_key": self.pem(),
            "client_email": self.account,
            "client_id": "100000000000000000001",
            "auth_uri": f"{self.url}/auth",
            "token_uri": f"{self.url}/token",
            "auth_provider_x509_cert_url": f"{self.url}/_fake/certs",
            "client_x509_cert_url": f"{self.url}/_fake/certs",
            "universe_domain": "googleapis.com",
        }, indent=2)

    def pem(self):
        """The private key as PKCS#8."""
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption()).decode()

    def certificates(self):
        """The public key by its id."""
        return {self.key_id: self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()}

    def new_access_token(self, account, seconds=HOUR):
        """An access token that will be accepted, and when it ends."""
        token = f"ya29.fake-{secrets.token_urlsafe(24)}"
        self.access[token] = (account, time.time() + seconds)
        return token

    def new_id_token(self, account, audience):
        """An identity token for an audience."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": audience, "sub": account, "azp": account, "email": account,
                  "email_verified": True, "iat": now, "exp": now + HOUR}
        return jwt.encode(claims, self.private, "RS256", {"kid": self.key_id})

    def caller(self, header):
        """The account behind an `Authorization` header; raises `ApiError`."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("Request is missing required authentication credential")
        if token in self.access:
            account, end = self.access[token]
            if end < time.time():
                raise unauthenticated("Request had invalid authentication credentials: the access token has expired")
            return account
        if token not in self.seen:
            self.seen[token] = self.self_signed(token)
        account, end = self.seen[token]
        if end + LEEWAY < time.time():
            raise unauthenticated("Request had invalid authentication credentials: the token has expired")
        return account

    def self_signed(self, token):
        """The account and the end of a token that a service account signed for itself."""
        claims = self.decode(token)
        if claims.get("iss") != self.account or claims.get("sub") != self.account:
            raise unauthenticated("Request had invalid authentication credentials: iss and sub must be the account")
        audience, scope = claims.get("aud"), claims.get("scope")
        if scope is not None and "https://www.googleapis.com/auth/" not in scope:
            raise unauthenticated("Request had invalid authentication credentials: unknown scope")
        if scope is None and not str(audience).startswith(("https://", self.url)):
            raise unauthenticated("Request had invalid authentication credentials: no scope and no audience")
        return self.account, claims["exp"]

    def decode(self, token, **options):
        """The claims of a token signed with the fake's key; raises `ApiError`."""
        try:
            return jwt.decode(token, self.public, ["RS256"], leeway=LEEWAY,
                              options={"require": ["exp", "iat"], "verify_aud": "audience" in options}, **options)
        except jwt.PyJWTError as error:
            raise unauthenticated(f"Request had invalid authentication credentials: {error}") from error

    def exchange(self, form):
        """The OAuth answer to a signed assertion; raises `ApiError`."""
        if form.get("grant_type") != GRANT:
            raise ApiError(400, f"unsupported grant type {form.get('grant_type')}", status="unsupported_grant_type")
        claims = self.decode(form.get("assertion", ""), audience=[f"{self.url}/token", AUDIENCE])
        if claims.get("iss") != self.account:
            raise unauthenticated("the assertion's issuer is not known")
        if "target_audience" in claims:
            return {"id_token": self.new_id_token(self.account, claims["target_audience"])}
        return {"access_token": self.new_access_token(self.account), "expires_in": HOUR, "token_type": "Bearer"}

    def invoker(self, header, audience):
        """The account that calls a function at `audience`; raises `ApiError`."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(403, "the function demands an identity token, and the request has none")
        return self.decode(token, audience=audience, issuer=ISSUER)["email"]


def unauthenticated(message):
    """401 as Google's front end answers it."""
    return ApiError(401, message)
