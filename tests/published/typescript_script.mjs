// Drives the TypeScript client, which knows the gateway by its address alone.
// Argument: where the client is installed. Each line of the input is a case: name, address, prompt.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const place = `${process.argv[2]}/node_modules/@anthropic-ai/sdk/index.mjs`;
const { default: Anthropic, APIError } = await import(pathToFileURL(place).href);

const outside = [];
const send = globalThis.fetch;
globalThis.fetch = (target, options) => {
  const host = new URL(typeof target === "string" ? target : (target.url ?? target.href)).hostname;
  if (host === "127.0.0.1") return send(target, options);
  outside.push(host);
  throw new Error("these tests use loopback only");
};

const input_schema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
};
const tools = [{ name: "Weather", input_schema }];
const tool_choice = { type: "tool", name: "Weather" };

async function ask(name, baseURL, prompt) {
  const { messages } = new Anthropic({ baseURL, apiKey: "any" });
  const request = {
    model: "claude-haiku-4-5",
    max_tokens: 1024,
    messages: [{ role: "user", content: prompt }],
  };
  if (name === "stream") {
    let pieces = 0;
    const stream = messages.stream(request).on("text", () => pieces++);
    return { text: await stream.finalText(), pieces };
  }
  if (name === "tools") {
    const { content } = await messages.create({ ...request, tools, tool_choice });
    return { tool: content[0].name, arguments: content[0].input };
  }
  if (name === "batch") {
    const requests = [{ custom_id: "one", params: request }];
    let batch = await messages.batches.create({ requests });
    while (batch.processing_status !== "ended") {
      await new Promise((resolve) => setTimeout(resolve, 20));
      batch = await messages.batches.retrieve(batch.id);
    }
    for await (const { result } of await messages.batches.results(batch.id)) {
      return { text: result.message.content[0].text };
    }
  }
  const { content } = await messages.create(request);
  return { text: content[0].text };
}

for await (const line of createInterface({ input: process.stdin })) {
  const report = { found: null, error: null, outside };
  try {
    report.found = await ask(...line.split(" "));
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status = null, type = null, requestID = null } = error;
    report.error = { class: error.constructor._errorName, status, type, request_id: requestID };
    report.error.words = error.message;
  }
  console.log(JSON.stringify(report));
}
