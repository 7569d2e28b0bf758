"""A client's part of a login by SASL with DIGEST-MD5 (RFC 2831)."""

import hashlib
import re

SERVER = "zookeeper/zk-sasl-md5"
CNONCE = "b2xkIGZyaWVuZHM"


def answer(challenge, user, password):
    """The answer to a challenge, and the proof that the server owes for it."""
    found = dict(re.findall(rb'([a-z-]+)="?([^",]*)"?', challenge))
    realm, nonce = found[b"realm"].decode(), found[b"nonce"].decode()
    secret = hashlib.md5(f"{user}:{realm}:{password}".encode()).digest()
    a1 = hashlib.md5(secret + f":{nonce}:{CNONCE}:{user}".encode()).hexdigest()

    def proof(method):
        a2 = hashlib.md5(f"{method}:{SERVER}".encode()).hexdigest()
        text = f"{a1}:{nonce}:00000001:{CNONCE}:auth:{a2}"
        return hashlib.md5(text.encode()).hexdigest()

    token = (
        f'charset=utf-8,username="{user}",realm="{realm}",nonce="{nonce}",nc=00000001,'
        f'cnonce="{CNONCE}",digest-uri="{SERVER}",maxbuf=65536,'
        f'response={proof("AUTHENTICATE")},qop=auth,authzid="{user}"'
    )
    return token, f'rspauth={proof("")}'


def jaas(users):
    """The file that names the users to a server."""
    lines = [f'user_{user}="{password}"' for user, password in users.items()]
    module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
    return "\n    ".join(["Server {", module, *lines]) + ";\n};\n"
