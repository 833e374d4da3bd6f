// A JOSE library that others wrote. One request as JSON on standard input, one answer on standard output.
import { readFileSync } from "node:fs";
import * as jose from "jose";

const ALGS = ["RS256", "ES256", "EdDSA"];
const encoder = new TextEncoder();

const actions = {
  /** Makes keys and a token by each, with these claims. */
  async mint({ claims, secret }) {
    const keys = [];
    const sign = (key, header) => new jose.SignJWT(claims).setProtectedHeader(header).sign(key);
    const tokens = { HS256: await sign(encoder.encode(secret), { alg: "HS256", typ: "JWT" }) };
    for (const alg of ALGS) {
      const { publicKey, privateKey } = await jose.generateKeyPair(alg, { crv: "Ed25519" });
      keys.push({ ...(await jose.exportJWK(publicKey)), kid: `jose-${alg}`, alg, use: "sig" });
      tokens[alg] = await sign(privateKey, { alg, kid: `jose-${alg}` });
    }
    return { jwks: { keys }, tokens };
  },

  /** Checks tokens by a JWKS, or by a secret, as of a time. */
  async verify({ tokens, jwks, secret, now_s }) {
    const keys = jose.createLocalJWKSet(jwks);
    const options = { currentDate: new Date(now_s * 1000) };
    return Promise.all(
      tokens.map(async (token) => {
        const key = jose.decodeProtectedHeader(token).alg === "HS256" ? encoder.encode(secret) : keys;
        return (await jose.jwtVerify(token, key, options)).payload;
      }),
    );
  },

  /** Seals a text as compact JWE. */
  async seal({ key, kid, text }) {
    const header = { alg: "dir", enc: "A256GCM", kid };
    return new jose.CompactEncrypt(encoder.encode(text)).setProtectedHeader(header).encrypt(Buffer.from(key, "base64"));
  },

  async open({ key, sealed }) {
    const { plaintext, protectedHeader } = await jose.compactDecrypt(sealed, Buffer.from(key, "base64"));
    return { text: new TextDecoder().decode(plaintext), header: protectedHeader };
  },
};

const { action, ...request } = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await actions[action](request)));
