// Lays JSON out for reading without changing any value: numbers and escapes stay as they were sent, which a trip
// through JSON.parse and JSON.stringify would not ensure.

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const CLOSES = { '{': '}', '[': ']' };
const ONE_LINE_MAX = 72;
// Indentation stops growing here, or deeply nested text would take space in the square of its length.
const INDENT_LEVELS_MAX = 24;

/** Pieces `{kind, text}` that make up the laid-out text, or null if it is not JSON. */
export function layOut(json) {
  try {
    JSON.parse(json);
  } catch {
    return null;
  }
  const tokens = json.match(TOKEN);
  const oneLine = json.length <= ONE_LINE_MAX;
  const pieces = [];
  let depth = 0;
  const push = (kind, text) => pieces.push({ kind, text });
  const gap = () => (oneLine ? ' ' : `\n${'  '.repeat(Math.min(depth, INDENT_LEVELS_MAX))}`);

  tokens.forEach((token, i) => {
    const opens = token === '{' || token === '[';
    if (opens && tokens[i + 1] !== CLOSES[token]) {
      depth += 1;
      push('mark', token + gap());
    } else if ((token === '}' || token === ']') && CLOSES[tokens[i - 1]] !== token) {
      depth -= 1;
      push('mark', gap() + token);
    } else if (token === ',') {
      push('mark', token + gap());
    } else if (token === ':') {
      push('mark', ': ');
    } else {
      push(kindOf(token, tokens[i + 1]), token);
    }
  });
  return pieces;
}

function kindOf(token, next) {
  if (token.startsWith('"')) return next === ':' ? 'key' : 'string';
  if (/^[-\d]/.test(token)) return 'number';
  return /^\w/.test(token) ? 'literal' : 'mark';
}
