"""Pays with an ERC-20 token from web3.py, as if the key were on this machine: its provider is Tigertally's JSON-RPC endpoint.

Usage: pay.py CERTIFICATES SIGNER CHAIN TOKEN TO AMOUNT
  CERTIFICATES  directory with ca.pem, client.pem and client.key
  SIGNER        URL of the endpoint ([rpc] in node.toml) with the path /geth, CHAIN that of a node of the chain
Prints one line of JSON: the sender, whether it succeeded, the receiver's balance, and a refusal in place of all that.
"""

import json
import sys
from pathlib import Path

from web3 import HTTPProvider, Web3
from web3.exceptions import Web3RPCError

ABI = json.loads(
    """[
  {"type": "function", "name": "transfer", "stateMutability": "nonpayable",
   "inputs": [{"name": "to", "type": "address"}, {"name": "value", "type": "uint256"}],
   "outputs": [{"name": "", "type": "bool"}]},
  {"type": "function", "name": "balanceOf", "stateMutability": "view",
   "inputs": [{"name": "owner", "type": "address"}], "outputs": [{"name": "", "type": "uint256"}]}
]"""
)


def main() -> int:
    certificates, signer_url, chain_url, token_address, to, amount = sys.argv[1:]
    ca, cert, key = (str(Path(certificates) / name) for name in ("ca.pem", "client.pem", "client.key"))
    tls = {"verify": ca, "cert": (cert, key)}
    remote = Web3(HTTPProvider(signer_url, request_kwargs=tls))
    chain = Web3(HTTPProvider(chain_url))
    token = chain.eth.contract(Web3.to_checksum_address(token_address), abi=ABI)
    sender, receiver = remote.eth.accounts[0], Web3.to_checksum_address(to)
    fee = chain.eth.gas_price
    transaction = {
        "from": sender,
        "to": token.address,
        "data": token.encode_abi("transfer", args=[receiver, int(amount)]),
        "value": 0,
        "nonce": chain.eth.get_transaction_count(sender),
        "chainId": chain.eth.chain_id,
        "gas": 100_000,
        "maxFeePerGas": 2 * fee,
        "maxPriorityFeePerGas": 1,
    }
    try:
        signed = remote.eth.sign_transaction(transaction)
    except Web3RPCError as error:
        # web3.py keeps what the endpoint said: the number, the sentence, and in `data` the reason, the rule and the request's id.
        print(json.dumps({"refused": error.rpc_response["error"]}))
        return 3
    sent = chain.eth.send_raw_transaction(signed["raw"])
    receipt = chain.eth.wait_for_transaction_receipt(sent)
    balance = str(token.functions.balanceOf(receiver).call())
    print(json.dumps({"from": sender, "hash": sent.hex(), "status": receipt["status"], "balance": balance}))
    return 0


sys.exit(main())
