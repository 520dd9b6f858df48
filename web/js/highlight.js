/* highlight.js: just enough lexing to colour code: comments, strings, numbers, keywords, names that are called or declared.
 * One sticky expression per language, built from a table row; it always advances and never backtracks over a line. */

const words = (s) => new Set(s.split(' '));
const C_STR = `"(?:[^"\\\\\\n]|\\\\[^])*(?:"|$|(?=\\n))|'(?:[^'\\\\\\n]|\\\\[^])*(?:'|$|(?=\\n))`;
const SLASH = '\\/\\/[^\\n]*|\\/\\*(?:[^*]|\\*(?!\\/))*(?:\\*\\/|$)';
const HASH = '#[^\\n]*';
const NUM = '(?:0[xX][\\da-fA-F_]+|0[bB][01_]+|\\d[\\d_]*(?:\\.\\d[\\d_]*)?(?:[eE][+-]?\\d+)?)\\w*';
const IDENT = '[\\p{L}_$][\\p{L}\\p{N}_$]*';

const C_WORDS = 'alignas alignof auto bool break case char const constexpr continue default do double else enum extern false float for goto if inline int int8_t int16_t int32_t int64_t long nullptr NULL register restrict return short signed size_t sizeof static static_assert struct switch true typedef typeof uint8_t uint16_t uint32_t uint64_t union unsigned void volatile while catch class concept delete explicit friend mutable namespace new noexcept operator override private protected public template this throw try using virtual';
const JS_WORDS = 'abstract any as async await boolean break case catch class const continue debugger declare default delete do else enum export extends false finally for from function get if implements import in instanceof interface keyof let namespace never new null number of private protected public readonly return set static string super switch this throw true try type typeof undefined unknown var void while with yield';

const LANGS = {
  c: { label: 'C', comment: SLASH, string: C_STR, meta: '#[ \\t]*[a-z]+', words: words(C_WORDS) },
  cpp: { label: 'C++', like: 'c' },
  javascript: { label: 'JavaScript', comment: SLASH, string: `${C_STR}|\`(?:[^\`\\\\]|\\\\[^])*(?:\`|$)`, words: words(JS_WORDS) },
  typescript: { label: 'TypeScript', like: 'javascript' },
  python: {
    label: 'Python', comment: HASH, meta: '@[\\w.]+',
    string: `[rbfuRBFU]{0,2}(?:"""(?:[^"\\\\]|\\\\[^]|"(?!""))*(?:"""|$)|'''(?:[^'\\\\]|\\\\[^]|'(?!''))*(?:'''|$)|${C_STR})`,
    words: words('False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return self try while with yield'),
  },
  rust: {
    label: 'Rust', comment: SLASH, meta: '#!?\\[[^\\]\\n]*\\]', string: `b?"(?:[^"\\\\]|\\\\[^])*(?:"|$)|'(?:[^'\\\\\\n]|\\\\[^\\n]{1,8})'`,
    words: words('as async await bool break char const continue crate dyn else enum extern f32 f64 false fn for i16 i32 i64 i8 if impl in isize let loop match mod move mut pub ref return self Self static str String struct super trait true type u16 u32 u64 u8 unsafe use usize vec where while'),
  },
  go: { label: 'Go', comment: SLASH, string: `${C_STR}|\`[^\`]*(?:\`|$)`, words: words('any bool break byte case chan const continue default defer else error fallthrough false float64 for func go goto if import int int64 interface iota map nil package range return rune select string struct switch true type uint8 var') },
  java: { label: 'Java', comment: SLASH, string: C_STR, meta: '@\\w+', words: words('abstract boolean break byte case catch char class continue default do double else enum extends false final finally float for if implements import instanceof int interface long new null package private protected public record return sealed short static String super switch synchronized this throw throws true try var void volatile while') },
  kotlin: { label: 'Kotlin', comment: SLASH, string: C_STR, meta: '@\\w+', words: words('as break class companion continue data do else enum false for fun if import in interface internal is lateinit null object open override package private return sealed super suspend this throw true try typealias val var when while') },
  csharp: { label: 'C#', like: 'java' },
  swift: { label: 'Swift', comment: SLASH, string: C_STR, meta: '@\\w+', words: words('as async await break case catch class continue default defer do else enum extension false fileprivate for func guard if import in init internal is let nil private protocol public return self static struct super switch throw throws true try var where while') },
  bash: { label: 'Shell', comment: '(?<![^\\s;])#[^\\n]*', string: `"(?:[^"\\\\]|\\\\[^])*(?:"|$)|'[^']*(?:'|$)`, meta: '\\$(?:\\w+|\\{[^}\\n]*\\}?|[@#?!*$-])', words: words('case do done echo elif else esac exit export fi for function if in local read return set shift source then until while cd sudo') },
  json: { label: 'JSON', comment: SLASH, string: C_STR, words: words('true false null') },
  yaml: { label: 'YAML', comment: HASH, string: C_STR, meta: '^[ \\t-]*[\\w.-]+(?=:(?:\\s|$))', words: words('true false null yes no') },
  toml: { label: 'TOML', comment: HASH, string: C_STR, meta: '^\\[+[^\\]\\n]*\\]+', words: words('true false') },
  sql: { label: 'SQL', comment: '--[^\\n]*|\\/\\*(?:[^*]|\\*(?!\\/))*(?:\\*\\/|$)', string: C_STR, fold: true, words: words('add all alter and as asc avg between by case count create default delete desc distinct drop else end exists foreign from group having if in index inner insert int integer into is join key left like limit max min not null offset on or order outer over partition primary references returning right select set sum table text then union unique update using values varchar view when where with') },
  html: { label: 'HTML', comment: '<!--(?:[^-]|-(?!->))*(?:-->|$)', string: C_STR, meta: '<\\/?[a-zA-Z][\\w:-]*|\\/?>', words: words('') },
  css: { label: 'CSS', comment: '\\/\\*(?:[^*]|\\*(?!\\/))*(?:\\*\\/|$)', string: C_STR, meta: '@[\\w-]+|--[\\w-]+|[\\w-]+(?=\\s*:)', words: words('') },
  diff: { label: 'Diff', comment: '^-[^\\n]*', string: '^\\+[^\\n]*', meta: '^@@[^\\n]*', words: words('') },
  make: { label: 'Makefile', comment: HASH, string: C_STR, meta: '^[\\w.-]+(?=\\s*:)|\\$[({][^)}\\n]*[)}]?', words: words('ifeq ifneq else endif include define endef') },
};

const ALIASES = {
  h: 'c', 'c++': 'cpp', cc: 'cpp', cxx: 'cpp', hpp: 'cpp', js: 'javascript', jsx: 'javascript', mjs: 'javascript', node: 'javascript',
  ts: 'typescript', tsx: 'typescript', py: 'python', python3: 'python', rs: 'rust', golang: 'go', kt: 'kotlin', cs: 'csharp', 'c#': 'csharp',
  sh: 'bash', shell: 'bash', zsh: 'bash', console: 'bash', yml: 'yaml', ini: 'toml', xml: 'html', svg: 'html', htm: 'html', scss: 'css',
  patch: 'diff', makefile: 'make', jsonc: 'json', json5: 'json', sqlite: 'sql', postgresql: 'sql', mysql: 'sql',
};

function row(lang) {
  const name = lang.toLowerCase();
  const key = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  return Object.hasOwn(LANGS, key) ? LANGS[key] : null;
}

export const labelOf = (lang) => row(lang)?.label ?? lang.slice(0, 24);

function lexer(lang) {
  const def = row(lang);
  if (!def) return null;
  const spec = def.like ? LANGS[def.like] : def;
  if (!spec.regex) {
    const part = (name, source) => (source ? `(?<${name}>${source})|` : '');
    spec.regex = new RegExp(`${part('comment', spec.comment)}${part('string', spec.string)}${part('meta', spec.meta)}(?<num>\\b${NUM})|(?<ident>${IDENT})(?<call>[ \\t]*\\()?|\\n|[^\\S\\n]+|[^]`, 'yum');
  }
  return spec;
}

/* Yields [kind or '', text] from offset `from` to the end; neighbours without a kind are joined up to a line end. */
export function* tokens(lang, text, from = 0) {
  const spec = lexer(lang);
  if (!spec) {
    const end = text.lastIndexOf('\n') + 1;
    if (from < end) yield ['', text.slice(from, end)];
    if (Math.max(from, end) < text.length) yield ['', text.slice(Math.max(from, end))];
    return;
  }
  let plain = '';
  for (let at = from; at < text.length; ) {
    spec.regex.lastIndex = at;
    const g = spec.regex.exec(text);
    const { ident, call } = g.groups;
    const whole = ident && call ? ident : g[0];
    at += whole.length;
    const kind = ident ? identKind(spec, ident, call) : kindOf(g.groups);
    if (kind || plain.endsWith('\n')) {
      if (plain) yield ['', plain];
      plain = '';
    }
    if (kind) yield [kind, whole];
    else plain += whole;
  }
  if (plain) yield ['', plain];
}

const kindOf = (g) => (g.comment ? 'comment' : g.string ? 'string' : g.meta ? 'meta' : g.num ? 'num' : '');

function identKind(spec, ident, call) {
  if (spec.words.has(spec.fold ? ident.toLowerCase() : ident)) return 'word';
  return call ? 'name' : '';
}
