// What an editor shows for a spec, by the language server that editors run:
//
//   npm install --prefix /tmp/yls yaml-language-server
//   node engine/tests/editor.mjs /tmp/yls
//
// It opens a spec with the line that names the schema, and asks for completion, hover and what is wrong.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const server = resolve(process.argv[2] ?? ".", "node_modules/.bin/yaml-language-server");
const folder = mkdtempSync(join(tmpdir(), "engine-editor-"));
const schema = new URL("../schemas/spec.schema.json", import.meta.url);
writeFileSync(join(folder, "spec.schema.json"), readFileSync(schema));

const child = spawn(server, ["--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
let buffer = Buffer.alloc(0);
let lastId = 0;
const answers = new Map();
const diagnostics = new Map();
const watchers = new Map();

child.stdout.on("data", (chunk) => {
  buffer = Buffer.concat([buffer, chunk]);
  for (;;) {
    const end = buffer.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(buffer.subarray(0, end).toString())[1]);
    if (buffer.length < end + 4 + length) return;
    const message = JSON.parse(buffer.subarray(end + 4, end + 4 + length).toString());
    buffer = buffer.subarray(end + 4 + length);
    if (message.method === "textDocument/publishDiagnostics") {
      diagnostics.set(message.params.uri, message.params.diagnostics);
      watchers.get(message.params.uri)?.(message.params.diagnostics);
    } else if (message.method && message.id !== undefined) {
      // What it wants to know of the editor: there are no settings.
      const result = message.method === "workspace/configuration" ? message.params.items.map(() => null) : null;
      send({ id: message.id, result });
    } else if (answers.has(message.id)) {
      answers.get(message.id)(message.result);
    }
  }
});

const send = (message) => {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  child.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
};
const ask = (method, params) => {
  const id = ++lastId;
  send({ id, method, params });
  return new Promise((answer) => answers.set(id, answer));
};

let n = 0;
const open = async (text) => {
  const uri = pathToFileURL(join(folder, `spec-${++n}.yaml`)).href;
  const told = new Promise((tell) => watchers.set(uri, tell));
  const document = `# yaml-language-server: $schema=spec.schema.json\n${text}`;
  writeFileSync(new URL(uri), document);
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version: 1, text: document } } });
  return { uri, told };
};

// Marks the place that is asked about, and is taken out of the text.
const at = async (marked) => {
  const before = marked.slice(0, marked.indexOf("|"));
  const { uri } = await open(marked.replace("|", ""));
  const position = { line: before.split("\n").length, character: before.length - before.lastIndexOf("\n") - 1 };
  return { textDocument: { uri }, position };
};

let failed = 0;
const expect = (what, found, wanted) => {
  const missing = wanted.filter((it) => !found.includes(it));
  console.log(`${missing.length ? "NOT OK" : "ok"}  ${what}${missing.length ? `: no ${missing.join(", ")} in ${found}` : ""}`);
  failed += missing.length ? 1 : 0;
};

await ask("initialize", {
  processId: process.pid,
  rootUri: pathToFileURL(folder).href,
  capabilities: { textDocument: { completion: { completionItem: { documentationFormat: ["plaintext"] } } } },
  initializationOptions: {},
});
send({ method: "initialized", params: {} });

const labels = async (marked) => {
  const list = await ask("textDocument/completion", await at(marked));
  return (list?.items ?? list ?? []).map((item) => item.label).join(" ");
};
const table = "team: red-foxes\nresources:\n  todos:\n    type: table\n    ";
expect("completes the top", await labels("|"), ["team", "resources", "outputs"]);
expect("completes the kinds", await labels("team: red-foxes\nresources:\n  todos:\n    type: |"), ["table", "mapping", "role"]);
expect("completes a table's properties", await labels(`${table}|`), ["hash_key", "stream_view_type", "protect"]);
expect("completes view types", await labels(`${table}stream_view_type: |`), ["KEYS_ONLY", "NEW_AND_OLD_IMAGES"]);
const hover = await ask("textDocument/hover", await at(`${table}read_cap|acity: 1`));
expect("explains a property", JSON.stringify(hover), ["read units a second"]);
const shown = async (text) => JSON.stringify(await (await open(text)).told);
expect("shows a misspelt property", await shown(`${table}attributes: { id: S }\n    hash_kee: id\n`), ["hash_kee"]);
expect("shows a number out of range", await shown("resources:\n  f:\n    type: function\n    timeout: 901\n"), ["900"]);
const good = readFileSync(new URL("../../specs/team.yaml", import.meta.url), "utf8").split("\n").slice(1).join("\n");
expect("has nothing against the README's spec", await shown(good), ["[]"]);
child.kill();
process.exit(failed ? 1 : 0);
