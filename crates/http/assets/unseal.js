// Opens payloads that the hub has sealed: compact JWE (RFC 7516), `dir` with `A256GCM`, by the browser's own WebCrypto.
// Copy it: it depends on nothing.

const fromBase64Url = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));

/** Whether data looks like a sealed payload: five parts, the second empty. */
export function isSealed(data) {
  return /^[\w-]+\.\.[\w-]{16}\.[\w-]*\.[\w-]{22}$/.test(data);
}

/** Reads keys as the hub's configuration has them: `kid:base64`, with spaces between. Gives a map from ids to keys. */
export async function importKeys(text) {
  const keys = new Map();
  for (const one of text.split(/\s+/).filter(Boolean)) {
    const colon = one.indexOf(':');
    const bytes = fromBase64Url(one.slice(colon + 1).replace(/=+$/, ''));
    if (colon < 1 || bytes.length !== 32) throw new Error('a key is ID:BASE64 of 32 bytes');
    keys.set(one.slice(0, colon), await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['decrypt']));
  }
  return keys;
}

/** Opens a sealed payload; fails if no key fits, or somebody has changed it. */
export async function unseal(data, keys) {
  const [header, , iv, text, tag] = data.split('.');
  const { alg, enc, kid } = JSON.parse(new TextDecoder().decode(fromBase64Url(header)));
  if (alg !== 'dir' || enc !== 'A256GCM' || !keys.has(kid)) throw new Error(`no key ${kid}`);
  const sealed = new Uint8Array([...fromBase64Url(text), ...fromBase64Url(tag)]);
  const how = { name: 'AES-GCM', iv: fromBase64Url(iv), additionalData: new TextEncoder().encode(header) };
  return new TextDecoder().decode(await crypto.subtle.decrypt(how, keys.get(kid), sealed));
}
