/* speak.js: reads a streaming answer to screen readers in sentences, not in tokens: a batch is at least BATCH characters that end
 * a sentence or a line, and batches keep GAP ms between them. */
import { announce } from './dom.js';

const BATCH = 60;
const GAP = 1500;

export class Speaker {
  constructor() {
    this.said = 0;
    this.last = 0;
  }

  grow(text) {
    const now = performance.now();
    if (now - this.last < GAP || text.length - this.said < BATCH) return;
    const fresh = text.slice(this.said);
    const end = Math.max(fresh.lastIndexOf('\n'), ...['. ', '! ', '? ', ': ', '。'].map((s) => fresh.lastIndexOf(s)));
    if (end + 1 < BATCH) return;
    this.say(fresh.slice(0, end + 1));
    this.last = now;
  }

  say(raw) {
    this.said += raw.length;
    const text = raw.replace(/[*_`#>|]+/g, ' ').replace(/\s+/g, ' ').trim();
    if (text) announce(text);
  }

  end(text, how) {
    this.say(text.slice(this.said));
    announce(how);
  }
}
