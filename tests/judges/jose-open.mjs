// Opens a sealed payload with npm's `jose`, which knows nothing of the hub: prints what it says, and the key's id.
//
//   node jose-open.mjs BASE64-KEY JWE

import { compactDecrypt } from 'jose';

const [key, sealed] = process.argv.slice(2);
const { plaintext, protectedHeader } = await compactDecrypt(sealed, Buffer.from(key, 'base64'));
process.stdout.write(`${JSON.stringify({ opened: new TextDecoder().decode(plaintext), kid: protectedHeader.kid })}\n`);
