// Lists that people type, and which topics a selector covers.

/** Splits a comma-separated field into its distinct, trimmed items. */
export function parseList(text) {
  return [...new Set(text.split(',').map((item) => item.trim()).filter(Boolean))];
}

/** Whether a selector covers a topic: `*` is exactly one segment, a last `**` one or more. */
export function covers(selector, topic) {
  const wanted = selector.split('/');
  const segments = topic.split('/');
  if (wanted.at(-1) === '**') {
    wanted.pop();
    if (segments.length <= wanted.length) return false;
  } else if (segments.length !== wanted.length) {
    return false;
  }
  return wanted.every((part, i) => part === '*' || part === segments[i]);
}
