// The OpenAI client for Node against a running Hearth: node client.cjs BASE_URL MODEL. Prints "all fine" or throws.
const assert = require('node:assert');
const { OpenAI } = require('openai');

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 300000 });
const messages = [{ role: 'user', content: 'Say something.' }];

async function collect(stream) {
  let text = '';
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? chunk.choices[0]?.text ?? '';
    usage = chunk.usage ?? usage;
  }
  return { text, usage };
}

async function main() {
  const list = await client.models.list();
  assert(list.data.some((m) => m.id === model));
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 10, temperature: 0 });
  const streamed = await collect(await client.chat.completions.create({
    model, messages, max_tokens: 10, temperature: 0, stream: true, stream_options: { include_usage: true },
  }));
  assert.strictEqual(streamed.text, whole.choices[0].message.content);
  for (const k of ['prompt_tokens', 'completion_tokens', 'total_tokens']) assert.strictEqual(streamed.usage[k], whole.usage[k]);
  assert(streamed.usage.prompt_tokens_details.cached_tokens > 0); // the same conversation again
  const three = await client.chat.completions.create({ model, messages, n: 3, max_tokens: 4, logprobs: true, top_logprobs: 1, seed: 3 });
  assert.strictEqual(three.choices.length, 3);
  assert(three.choices[2].logprobs.content.length >= 1);
  const done = await client.completions.create({ model, prompt: 'a', max_tokens: 4, temperature: 0 });
  const pieces = await collect(await client.completions.create({ model, prompt: 'a', max_tokens: 4, temperature: 0, stream: true }));
  assert.strictEqual(pieces.text, done.choices[0].text);
  await assert.rejects(client.chat.completions.create({ model: 'gpt-4o', messages }), (e) => e.status === 404 && e.code === 'model_not_found');
  await assert.rejects(client.chat.completions.create({ model, messages, temperature: 9 }), (e) => e.status === 400 && e.param === 'temperature');
  const left = await client.chat.completions.create({ model, messages, max_tokens: 4000, stream: true, ignore_eos: true });
  for await (const chunk of left) {
    assert(chunk.choices);
    left.controller.abort();
    break;
  }
  const helper = client.chat.completions.stream({ model, messages, max_tokens: 6, temperature: 0 });
  assert.strictEqual((await helper.finalChatCompletion()).choices[0].message.role, 'assistant');
  console.log('all fine');
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
