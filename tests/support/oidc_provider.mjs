// The certified `oidc-provider` as a region's IdP: who logs in next, and at which level, is said by POST /next.
// One argument: JSON {port, redirect_uris, jwks, modules}.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { port, redirect_uris, jwks, modules } = JSON.parse(process.argv[2]);
const { default: Provider } = await import(pathToFileURL(createRequire(`${modules}/`).resolve("oidc-provider")));
const issuer = `http://127.0.0.1:${port}`;

let next = {};
const people = new Map();

const client = (client_id) => ({
  client_id,
  client_secret: `secret of ${client_id}`,
  redirect_uris,
  grant_types: ["authorization_code"],
  response_types: ["code"],
});

const provider = new Provider(issuer, {
  clients: ["patients", "staff"].map(client),
  jwks,
  acrValues: ["urn:test:loa2", "urn:test:loa3"],
  claims: { openid: ["sub", "acr"], profile: ["name", "number", "units"] },
  features: { devInteractions: { enabled: false } },
  cookies: { keys: ["tests"] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile");
    grant.addOIDCClaims(["name", "number", "units"]);
    await grant.save();
    return grant;
  },
});

// Somebody between the provider and us, who changes who it is that has logged in.
provider.use(async (ctx, proceed) => {
  await proceed();
  if (!next.tampered || ctx.path !== "/token" || !ctx.body?.id_token) return;
  const [head, body, signature] = ctx.body.id_token.split(".");
  const claims = { ...JSON.parse(Buffer.from(body, "base64url")), sub: "another" };
  ctx.body.id_token = [head, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature].join(".");
});

const callback = provider.callback();

async function answer(request, response) {
  if (request.url === "/next") {
    let text = "";
    for await (const part of request) text += part;
    next = JSON.parse(text);
    people.set(next.sub, { name: next.name, number: next.number, units: next.units });
    response.end();
  } else if (request.url.startsWith("/interaction/")) {
    const { sub, acr, cancelled } = next;
    const result = cancelled
      ? { error: "access_denied", error_description: "cancelled" }
      : { login: { accountId: sub, acr, remember: false } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } else {
    callback(request, response);
  }
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  });
}).listen(port, "127.0.0.1", () => console.log("listening"));
