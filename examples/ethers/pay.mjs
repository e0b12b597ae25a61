// Pays with an ERC-20 token from ethers, as if the key were on this machine: its signer is Tigertally's JSON-RPC endpoint.
//
// Usage: pay.mjs CERTIFICATES SIGNER CHAIN TOKEN TO AMOUNT
//   CERTIFICATES  directory with ca.pem, client.pem and client.key
//   SIGNER        URL of the endpoint ([rpc] in node.toml), CHAIN that of a node of the chain
// Prints one line of JSON: the hash, whether it succeeded, the receiver's balance, and a refusal in place of all that.

import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { join } from "node:path";
import { Contract, FetchRequest, JsonRpcProvider } from "ethers";

const [certificates, signerUrl, chainUrl, tokenAddress, to, amount] = process.argv.slice(2);
const pem = (name) => readFileSync(join(certificates, name));

const request = new FetchRequest(signerUrl);
const agent = new Agent({ ca: pem("ca.pem"), cert: pem("client.pem"), key: pem("client.key"), keepAlive: true });
request.getUrlFunc = FetchRequest.createGetUrlFunc({ agent });
const remote = new JsonRpcProvider(request);
const chain = new JsonRpcProvider(chainUrl);

const signer = await remote.getSigner();
const abi = ["function transfer(address to, uint256 value) returns (bool)", "function balanceOf(address) view returns (uint256)"];
const token = new Contract(tokenAddress, abi, chain);

try {
  const [nonce, fees] = [await chain.getTransactionCount(signer.address), await chain.getFeeData()];
  const call = await token.transfer.populateTransaction(to, amount);
  const raw = await signer.signTransaction({
    ...call,
    nonce,
    chainId: (await chain.getNetwork()).chainId,
    gasLimit: 100_000n,
    maxFeePerGas: fees.maxFeePerGas,
    maxPriorityFeePerGas: fees.maxPriorityFeePerGas,
  });
  const sent = await chain.broadcastTransaction(raw);
  const receipt = await sent.wait();
  const balance = (await token.balanceOf(to)).toString();
  console.log(JSON.stringify({ from: signer.address, hash: sent.hash, status: receipt.status, balance }));
} catch (error) {
  // ethers keeps what the endpoint said: the number, the sentence, and in `data` the reason, the rule and the request's id.
  console.log(JSON.stringify({ refused: error.info?.error ?? error.error ?? String(error) }));
  process.exitCode = 3;
} finally {
  remote.destroy();
  chain.destroy();
  agent.destroy();
}
