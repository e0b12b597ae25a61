// Asks a Tigertally cluster for a signed EVM transaction, with @grpc/grpc-js and the .proto files alone.
//
// What it shows, in the order in which proto/tally/v1/types.proto specifies it: the unsigned transaction, the intent, its DSSE
// envelope with the client's Ed25519 signature, the call, and why it was refused. Prints the raw signed transaction.

import { createPrivateKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import loader, { type MessageTypeDefinition } from "@grpc/proto-loader";

const PAYLOAD_TYPE = "application/vnd.tally.intent.v1+protobuf";
const ACTION_SIGN = 1, KIND_EVM_TRANSACTION = 1, PURPOSE_TRANSACTION = 1;

// The same bytes may be sent again to another node: the request id names one signature for ever.
const TRY_NEXT_NODE = [grpc.status.UNAVAILABLE, grpc.status.ABORTED, grpc.status.DEADLINE_EXCEEDED];

type Item = Buffer | Item[];

/** Ethereum's encoding of byte strings and lists of them. */
function rlp(item: Item): Buffer {
  if (Buffer.isBuffer(item) && item.length === 1 && item[0]! < 0x80) return item;
  const [short, body] = Buffer.isBuffer(item) ? [0x80, item] : [0xc0, Buffer.concat(item.map(rlp))];
  if (body.length < 56) return Buffer.concat([Buffer.from([short + body.length]), body]);
  const size = number(BigInt(body.length));
  return Buffer.concat([Buffer.from([short + 55 + size.length]), size, body]);
}

function number(n: bigint): Buffer {
  const digits = n === 0n ? "" : n.toString(16);
  return Buffer.from(digits.length % 2 === 1 ? `0${digits}` : digits, "hex");
}

const hex = (text: string): Buffer => Buffer.from(text.replace(/^0x/, ""), "hex");

const { values: arg } = parseArgs({
  options: {
    profile: { type: "string" }, // profile.toml, as `tally` takes it
    proto: { type: "string" }, // the directory proto/ of this repository
    key: { type: "string" },
    to: { type: "string" },
    data: { type: "string", default: "0x" },
    chain: { type: "string", default: "1" },
    nonce: { type: "string", default: "0" },
    value: { type: "string", default: "0" },
    gas: { type: "string", default: "100000" },
    fee: { type: "string", default: "20000000000" }, // most paid for a unit of gas, in wei
    tip: { type: "string", default: "1000000000" },
  },
});

function given(name: "profile" | "proto" | "key" | "to"): string {
  const value = arg[name];
  if (value === undefined) {
    console.error(`--${name} is missing`);
    process.exit(2);
  }
  return value;
}

/** A profile is flat TOML: strings, and one list of strings, which JSON reads alike. */
function profileOf(file: string): Record<string, string> & { endpoints: string[] } {
  const lines = readFileSync(file, "utf8").split("\n").filter((line) => line.includes("="));
  const pairs = lines.map((line) => [line.slice(0, line.indexOf("=")).trim(), JSON.parse(line.slice(line.indexOf("=") + 1))]);
  return Object.fromEntries(pairs);
}

/** EIP-1559: 0x02 || rlp([chain id, nonce, tip, fee, gas, to, value, data, access list]). */
function unsignedTransaction(): Buffer {
  const [chain, nonce, tip, fee, gas, value] = [arg.chain, arg.nonce, arg.tip, arg.fee, arg.gas, arg.value].map((n) =>
    number(BigInt(n!)),
  ) as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
  return Buffer.concat([Buffer.from([2]), rlp([chain, nonce, tip, fee, gas, hex(given("to")), value, hex(arg.data!), []])]);
}

/** The file holds the 32 bytes of the seed; Node wants them in PKCS#8 (RFC 8410). */
function intentKey(file: string): KeyObject {
  const [kind, digits] = readFileSync(file, "utf8").trim().split(":");
  if (kind !== "ed25519") throw new Error(`${file}: this example signs with Ed25519 keys only, not ${kind}`);
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(digits!, "hex")]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

const include = [given("proto"), join(given("proto"), "..", "examples")];
const options = { includeDirs: include, keepCase: true, longs: String, defaults: true };
const definition = loader.loadSync(["tally/v1/signing.proto", "errors.proto"], options);
const message = (name: string) => definition[name] as MessageTypeDefinition<object, object>;

const profile = profileOf(given("profile"));
const beside = (name: string) => join(dirname(given("profile")), profile[name]!);

function intent(): Buffer {
  const now = Date.now();
  // Defaults are left out, as the encoding wants it: what is not named here.
  return message("tally.v1.IntentBody").serialize({
    request_id: randomBytes(16),
    tenant: profile["tenant"],
    client: profile["client"],
    action: ACTION_SIGN,
    key: given("key"),
    kind: KIND_EVM_TRANSACTION,
    chain: `eip155:${arg.chain}`,
    content: unsignedTransaction(),
    purpose: PURPOSE_TRANSACTION,
    not_before_ms: now - 2_000,
    expires_at_ms: now + 300_000,
    cluster: profile["cluster"],
  });
}

/** DSSE: the signature is over the type and the payload, each with its length. */
function envelope(payload: Buffer, key: KeyObject): object {
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload]);
  return { payload, payload_type: PAYLOAD_TYPE, signatures: [{ signature: sign(null, signed, key) }] };
}

interface Signed {
  rule: string;
  signed_payload: Buffer;
}

function call(endpoint: string, request: object): Promise<Signed> {
  const [ca, key, cert] = ["ca", "key", "cert"].map((name) => readFileSync(beside(name))) as [Buffer, Buffer, Buffer];
  const Service = (grpc.loadPackageDefinition(definition) as any).tally.v1.SigningService;
  const client = new Service(endpoint.replace("https://", ""), grpc.credentials.createSsl(ca, key, cert));
  return new Promise((resolve, reject) =>
    client.Sign(request, { deadline: Date.now() + 30_000 }, (error: grpc.ServiceError | null, signed: Signed) => {
      client.close();
      if (error === null) resolve(signed);
      else reject(error);
    }),
  );
}

/** The reason, its sentence, and facts such as the rule. */
function why(error: grpc.ServiceError): string {
  const trailer = error.metadata.get("grpc-status-details-bin")[0];
  const status = Buffer.isBuffer(trailer) ? (message("tally.examples.Status").deserialize(trailer) as any) : { details: [] };
  const detail = status.details.find((d: any) => d.type_url?.endsWith("/google.rpc.ErrorInfo"));
  if (detail === undefined) return `${grpc.status[error.code]}: ${error.details}`;
  const info = message("tally.examples.ErrorInfo").deserialize(detail.value) as any;
  return `${info.reason}: ${error.details} ${JSON.stringify(info.metadata)}`;
}

const request = { intent: envelope(intent(), intentKey(beside("intent_key"))) };
let failed: grpc.ServiceError | undefined;
for (const endpoint of profile.endpoints) {
  try {
    const signed = await call(endpoint, request);
    console.error(`permitted by rule ${signed.rule}`);
    console.log(`0x${signed.signed_payload.toString("hex")}`);
    process.exit(0);
  } catch (error) {
    failed = error as grpc.ServiceError;
    if (!TRY_NEXT_NODE.includes(failed.code)) break;
  }
}
console.error(failed === undefined ? "the profile names no endpoint" : why(failed));
process.exit(failed?.code === grpc.status.PERMISSION_DENIED ? 3 : 1);
