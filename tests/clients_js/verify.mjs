// Reads deliveries on standard input, [{headers, body, secrets, publicKeys}], and says of each which keys verify it:
// the secrets by the official library (v1), the public keys by WebCrypto (v1a).
import { webcrypto } from "node:crypto";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const decode = (text) => Uint8Array.from(Buffer.from(text, "base64"));

function byLibrary(secret, body, headers) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

async function byWebCrypto(publicKey, body, headers) {
  const key = await webcrypto.subtle.importKey(
    "raw", decode(publicKey.replace(/^whpk_/, "")), { name: "Ed25519" }, false, ["verify"],
  );
  const content = new TextEncoder().encode(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
  const signatures = headers["webhook-signature"].split(" ").filter((each) => each.startsWith("v1a,"));
  const verified = await Promise.all(
    signatures.map((each) => webcrypto.subtle.verify("Ed25519", key, decode(each.slice(4)), content)),
  );
  return verified.some(Boolean);
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
const answers = [];
for (const { headers, body, secrets, publicKeys } of JSON.parse(input)) {
  answers.push({
    v1: secrets.map((secret) => byLibrary(secret, body, headers)),
    v1a: await Promise.all(publicKeys.map((key) => byWebCrypto(key, body, headers))),
  });
}
console.log(JSON.stringify(answers));
