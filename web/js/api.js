/* api.js: the page's side of the HTTP API: status, load, streamed answers, and errors that keep the server's words.
 * Owns the API key (for this tab only). Knows no DOM and no conversations. */

export class ApiError extends Error {
  constructor(message, { status = 0, code = '', type = '', retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, type, retryAfter });
  }
}

let key = '';
try {
  key = sessionStorage.getItem('hearth.key') ?? '';
} catch {
  /* no storage: the key lives as long as the page */
}

export function setKey(value) {
  key = value;
  try {
    sessionStorage.setItem('hearth.key', value);
  } catch {
    /* as above */
  }
}

async function fail(res) {
  let info = {};
  const text = await res.text().catch(() => '');
  try {
    info = JSON.parse(text).error ?? {};
  } catch {
    /* not our JSON, e.g. a proxy's page */
  }
  const message = info.message || `The server answered ${res.status} ${res.statusText}`.trim();
  const retryAfter = Number(res.headers.get('retry-after')) || 0;
  return new ApiError(message, { status: res.status, code: info.code ?? '', type: info.type ?? '', retryAfter });
}

async function call(path, { body, signal } = {}) {
  const headers = {};
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let res;
  try {
    res = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers, signal, cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new ApiError('Hearth does not answer.', { code: 'unreachable' });
  }
  if (!res.ok) throw await fail(res);
  return res;
}

export const getStatus = async () => (await call('/api/status')).json();
export const loadModel = (model, signal) => call('/api/load', { body: { model }, signal });
export const unloadModel = (model) => call('/api/unload', { body: { model } });

/* Server-sent events of a response body: yields each event's data. Comment lines (keep-alive) are dropped. */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
        if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
        else if (line === '' && data.length) {
          yield data.join('\n');
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/* One streamed answer: yields {text, reasoning, finish, usage, timings}, each only when the chunk carries it.
 * A stream that ends without its [DONE] is an error: the answer may be cut. */
export async function* complete(path, body, signal) {
  const res = await call(path, { body: { ...body, stream: true, stream_options: { include_usage: true } }, signal });
  let done = false;
  try {
    for await (const data of events(res.body)) {
      if (data === '[DONE]') {
        done = true;
        break;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message ?? 'The server reported an error.', { status: 500, ...chunk.error });
      const choice = chunk.choices?.[0] ?? {};
      yield {
        text: choice.delta?.content ?? choice.text ?? '',
        reasoning: choice.delta?.reasoning_content ?? '',
        finish: choice.finish_reason ?? null,
        usage: chunk.usage ?? null,
        timings: chunk.timings ?? null,
      };
    }
  } catch (e) {
    if (e instanceof ApiError || e.name === 'AbortError') throw e;
    throw new ApiError('The connection broke off in the middle of the answer.', { code: 'broken_stream' });
  }
  if (!done) throw new ApiError('The connection broke off in the middle of the answer.', { code: 'broken_stream' });
}
