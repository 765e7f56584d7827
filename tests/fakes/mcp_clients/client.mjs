// A TypeScript client at work: node client.mjs FOLDER SDK PLAN
// FOLDER holds node_modules; SDK is "1", "2" or "2-auto"; PLAN is JSON: {url} or {command, args, env}.
// Prints a JSON line after its calls, waits for a line, calls once more, prints another; then gives a
// slow call up after two reports of progress, and prints the last.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, sdk, planText] = process.argv.slice(2);
const plan = JSON.parse(planText);
const require = createRequire(`${folder}/client.js`);

function library() {
  if (sdk === '1') {
    return {
      ...require('@modelcontextprotocol/sdk/client/index.js'),
      ...require('@modelcontextprotocol/sdk/client/streamableHttp.js'),
      ...require('@modelcontextprotocol/sdk/client/stdio.js'),
    };
  }
  return { ...require('@modelcontextprotocol/client'), ...require('@modelcontextprotocol/client/stdio') };
}

const { Client, StreamableHTTPClientTransport, StdioClientTransport } = library();
const options = sdk === '2-auto' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'test', version: '1' }, options);
const errors = [];
client.onerror = (error) => errors.push(String(error));
const transport = plan.url
  ? new StreamableHTTPClientTransport(new URL(plan.url))
  : new StdioClientTransport({ command: plan.command, args: plan.args, env: { ...process.env, ...plan.env }, stderr: 'ignore' });
await client.connect(transport);

const call = (name, args, how = {}) =>
  sdk === '1' ? client.callTool({ name, arguments: args }, undefined, how) : client.callTool({ name, arguments: args }, how);

const tools = (await client.listTools()).tools.map((tool) => tool.name);
const search = (await call('search', { query: 'lodging rate' })).structuredContent;
const fetched = (await call('fetch', { id: search.results[0].id })).structuredContent;
const ask = (await call('ask', { question: 'How many hours of sick leave?' })).structuredContent;
const error = await call('search', { query: 'x', top_k: 1 });

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
say({ tools, title: fetched.title, found: search.results[0].title, grounded: ask.grounded,
  error: [error.isError, error.content[0].text] });
await new Promise((resolve) => createInterface({ input: process.stdin }).once('line', resolve));
const again = (await call('search', { query: 'lodging rate' })).structuredContent;
say({ found: again.results[0].title, errors });

const giveUp = new AbortController();
let progress = 0;
let cancelled = false;
try {
  await call('ask', { question: 'Answer slowly, please' }, {
    signal: giveUp.signal,
    timeout: 30000,
    onprogress: () => { progress += 1; if (progress === 2) giveUp.abort('enough'); },
  });
} catch { cancelled = true; }

say({ progress, cancelled });
await client.close();
process.exit(0);
