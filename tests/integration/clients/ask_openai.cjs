// OpenAI's client for Node, against the base URL given. Prints what it was told, as JSON.

const { OpenAI, NotFoundError, BadRequestError } = require("openai");
const { makeParseableResponseFormat } = require("openai/lib/parser");

const QUESTION = "where is my parcel";
const messages = [{ role: "user", content: QUESTION }];
const model = "desk";

async function joined(stream, piece) {
  let text = "";
  for await (const event of stream) text += piece(event) ?? "";
  return text;
}

async function failing(kind, ask) {
  try {
    await ask();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

async function asked(baseURL) {
  const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
  const chat = await client.chat.completions.create({ model, messages });
  const schema = { type: "object", properties: { label: { type: "string" } }, required: ["label"] };
  const format = { type: "json_schema", json_schema: { name: "verdict", schema } };
  const parsed = await client.chat.completions.parse({
    model: "big-json",
    messages,
    response_format: makeParseableResponseFormat(format, JSON.parse),
  });
  const completion = await client.completions.create({ model, prompt: QUESTION });
  const response = await client.responses.create({ model, input: QUESTION });
  const embeddings = await client.embeddings.create({ model, input: "a", encoding_format: "float" });
  const names = [];
  for await (const found of client.models.list()) names.push(found.id);
  const unknown = await failing(NotFoundError, () => client.responses.create({ model: "nobody", input: QUESTION }));
  const invalid = await failing(BadRequestError, () =>
    client.responses.create({ model, input: QUESTION, top_logprobs: 99 }),
  );
  return {
    chat: chat.choices[0].message.content,
    chat_stream: await joined(
      await client.chat.completions.create({ model, messages, stream: true }),
      (chunk) => chunk.choices[0]?.delta?.content,
    ),
    usage: chat.usage.total_tokens,
    chat_parse: parsed.choices[0].message.parsed,
    completion: completion.choices[0].text,
    completion_stream: await joined(
      await client.completions.create({ model, prompt: QUESTION, stream: true }),
      (chunk) => chunk.choices[0]?.text,
    ),
    response: response.output_text,
    response_stream: (await client.responses.stream({ model, input: QUESTION }).finalResponse()).output_text,
    embedding: embeddings.data[0].embedding,
    models: names.includes(model),
    unknown: unknown.code,
    invalid: invalid.param,
  };
}

asked(process.argv[2]).then(
  (told) => process.stdout.write(JSON.stringify(told)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
