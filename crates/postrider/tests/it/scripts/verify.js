// Verifies a delivery by the official library: verify.js FOLDER DELIVERY, which is JSON with the body in hex.
const { createRequire } = require("node:module");

const [folder, text] = process.argv.slice(2);
const { Webhook } = createRequire(`${folder}/package.json`)("standardwebhooks");
const delivery = JSON.parse(text);
const body = Buffer.from(delivery.body, "hex").toString("utf8");
const webhook = new Webhook(delivery.secret);

webhook.verify(body, delivery.headers);
try {
  webhook.verify(`${body} `, delivery.headers);
} catch {
  process.exit(0);
}
console.error("a changed body verified as well");
process.exit(1);
