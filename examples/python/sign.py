"""Asks a Tigertally cluster for a signed EVM transaction, with grpcio and the .proto files alone.

What it shows, in the order in which proto/tally/v1/types.proto specifies it: the unsigned transaction, the intent, its DSSE
envelope with the client's Ed25519 signature, the call, and why it was refused. Prints the raw signed transaction.
"""

import argparse
import os
import sys
import time
import tomllib
from pathlib import Path

import errors_pb2
import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tally.v1 import signing_pb2, signing_pb2_grpc, types_pb2

PAYLOAD_TYPE = "application/vnd.tally.intent.v1+protobuf"
ACTION_SIGN, KIND_EVM_TRANSACTION, PURPOSE_TRANSACTION = 1, 1, 1

# The same bytes may be sent again to another node: the request id names one signature for ever.
TRY_NEXT_NODE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED}


def rlp(item: bytes | list) -> bytes:
    """Ethereum's encoding of byte strings and lists of them."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        short, body = 0x80, item
    else:
        short, body = 0xC0, b"".join(map(rlp, item))
    if len(body) < 56:
        return bytes([short + len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes([short + 55 + len(size)]) + size + body


def number(n: int) -> bytes:
    return n.to_bytes((n.bit_length() + 7) // 8)


def unsigned_transaction(a: argparse.Namespace) -> bytes:
    """EIP-1559: 0x02 || rlp([chain id, nonce, tip, fee, gas, to, value, data, access list])."""
    fields = [a.chain, a.nonce, a.tip, a.fee, a.gas]
    to, data = bytes.fromhex(a.to.removeprefix("0x")), bytes.fromhex(a.data.removeprefix("0x"))
    return b"\x02" + rlp([*map(number, fields), to, number(a.value), data, []])


def intent(profile: dict, a: argparse.Namespace) -> bytes:
    now = time.time_ns() // 1_000_000
    body = types_pb2.IntentBody(
        request_id=os.urandom(16),
        tenant=profile["tenant"],
        client=profile["client"],
        cluster=profile["cluster"],
        action=ACTION_SIGN,
        key=a.key,
        kind=KIND_EVM_TRANSACTION,
        chain=f"eip155:{a.chain}",
        content=unsigned_transaction(a),
        purpose=PURPOSE_TRANSACTION,
        not_before_ms=now - 2_000,
        expires_at_ms=now + 300_000,
    )
    # Ascending fields, no defaults, nothing unknown: that is how protobuf for Python writes it.
    return body.SerializeToString(deterministic=True)


def envelope(payload: bytes, key: Ed25519PrivateKey) -> types_pb2.Envelope:
    """DSSE: the signature is over the type and the payload, each with its length."""
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    signature = types_pb2.EnvelopeSignature(signature=key.sign(signed))
    return types_pb2.Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures=[signature])


def intent_key(path: Path) -> Ed25519PrivateKey:
    kind, digits = path.read_text().strip().split(":")
    if kind != "ed25519":
        sys.exit(f"{path}: this example signs with Ed25519 keys only, not {kind}")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(digits))


def why(error: grpc.RpcError) -> str:
    """The reason, its sentence, and facts such as the rule."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for detail in errors_pb2.Status.FromString(value).details:
                if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                    info = errors_pb2.ErrorInfo.FromString(detail.value)
                    return f"{info.reason}: {error.details()} {dict(info.metadata)}"
    return f"{error.code().name}: {error.details()}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--profile", type=Path, required=True, help="profile.toml, as `tally` takes it")
    p.add_argument("--key", required=True, help="name of a key for transactions")
    p.add_argument("--to", required=True)
    p.add_argument("--data", default="0x")
    for name, default in [("chain", 1), ("nonce", 0), ("value", 0), ("gas", 100_000)]:
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--fee", type=int, default=20_000_000_000, help="most paid for a unit of gas, in wei")
    p.add_argument("--tip", type=int, default=1_000_000_000)
    a = p.parse_args()

    profile = tomllib.loads(a.profile.read_text())
    beside = a.profile.parent
    tls = grpc.ssl_channel_credentials(*(beside.joinpath(profile[f]).read_bytes() for f in ("ca", "key", "cert")))
    sealed = envelope(intent(profile, a), intent_key(beside / profile["intent_key"]))
    request = signing_pb2.SignRequest(intent=sealed)
    failed = None
    for endpoint in profile["endpoints"]:
        with grpc.secure_channel(endpoint.removeprefix("https://"), tls) as channel:
            try:
                signed = signing_pb2_grpc.SigningServiceStub(channel).Sign(request, timeout=30)
                print(f"permitted by rule {signed.rule}", file=sys.stderr)
                print(f"0x{signed.signed_payload.hex()}")
                return
            except grpc.RpcError as error:
                failed = error
                if error.code() not in TRY_NEXT_NODE:
                    break
    print(why(failed), file=sys.stderr)
    sys.exit(3 if failed.code() == grpc.StatusCode.PERMISSION_DENIED else 1)


if __name__ == "__main__":
    main()
