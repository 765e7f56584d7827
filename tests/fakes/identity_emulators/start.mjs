// Starts an identity provider from npm on loopback, says its address, and ends when its input does.
//   node start.mjs NODE_FOLDER SERVICE REDIRECT_URI
// SERVICE is one of emulate's (google, microsoft, okta, github) or `oidc-provider`.
import http from "node:http";
import { once } from "node:events";

const [folder, service, redirect] = process.argv.slice(2);
const client = { client_id: "scrubjay", client_secret: "provider-secret", redirect_uris: [redirect] };
const modules = `${folder}/node_modules`;

async function emulated() {
  const { createEmulator } = await import(`${modules}/emulate/dist/api.js`);
  const seeds = {
    google: {
      users: [
        { email: "ada@acme.example", name: "Ada Lovelace", hd: "acme.example" },
        { email: "eve@other.example", name: "Eve", hd: "other.example" },
      ],
      oauth_clients: [client],
    },
    microsoft: {
      users: [{ email: "ada@acme.example", name: "Ada Lovelace" }],
      oauth_clients: [{ ...client, name: "Scrubjay" }],
    },
    okta: {
      users: [
        { login: "ada@acme.example", email: "ada@acme.example", first_name: "Ada", last_name: "Lovelace" },
      ],
      authorization_servers: [{ id: "default", name: "default", audiences: ["api://default"] }],
      oauth_clients: [{ ...client, name: "Scrubjay", auth_server_id: "default" }],
    },
    github: {
      users: [{ login: "ada", name: "Ada Lovelace", email: "ada@acme.example" }],
      orgs: [{ login: "acme", name: "Acme", members: [{ login: "ada", role: "member" }] }],
      oauth_apps: [{ ...client, name: "Scrubjay" }],
    },
  };
  const port = await freePort();
  const running = await createEmulator({ service, port, seed: { [service]: seeds[service] } });
  return running.url;
}

async function certified() {
  const { default: Provider } = await import(`${modules}/oidc-provider/lib/index.js`);
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [{ ...client, grant_types: ["authorization_code"], response_types: ["code"] }],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    cookies: { keys: ["loopback-only"] },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@acme.example`, email_verified: true, name: "Ada Lovelace" }),
    }),
  });
  const server = http.createServer(provider.callback()).listen(port, "127.0.0.1");
  await once(server, "listening");
  return issuer;
}

async function freePort() {
  const server = http.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const url = await (service === "oidc-provider" ? certified() : emulated());
console.log(`READY ${url}`);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
