// Opens many streams over one HTTP/2 connection, as a browser does, with Node's own client. Prints a JSON line when all are
// open, then one for each event that has arrived on all, then one when the connection is over.
//
//   node http2.mjs URL CA-FILE STREAMS

import fs from 'node:fs';
import http2 from 'node:http2';

const [url, ca, count] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const { origin, pathname, search } = new URL(url);
const session = http2.connect(origin, { ca: fs.readFileSync(ca) });
const arrived = new Map();
let open = 0;
let ended = 0;

session.on('error', (error) => {
    say({ error: error.message });
    process.exit(1);
});

for (let index = 0; index < Number(count); index += 1) {
    const stream = session.request({ ':path': pathname + search, accept: 'text/event-stream' });
    let text = '';
    stream.setEncoding('utf8');
    stream.on('response', (headers) => {
        if (headers[':status'] !== 200) {
            say({ error: `status ${headers[':status']}` });
        }
    });
    stream.on('data', (chunk) => {
        text += chunk;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
            const block = text.slice(0, end).split('\n');
            text = text.slice(end + 2);
            const field = (name) => block.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
            if (field('event') === 'connected') {
                open += 1;
                if (open === Number(count)) {
                    say({ open });
                }
            } else if (field('data') !== undefined && field('event') === undefined) {
                const seen = (arrived.get(field('data')) ?? 0) + 1;
                arrived.set(field('data'), seen);
                if (seen === Number(count)) {
                    say({ data: field('data'), length: field('data').length });
                }
            }
        }
    });
    stream.on('end', () => {
        ended += 1;
        if (ended === Number(count)) {
            say({ ended });
            session.close(() => process.exit(0));
        }
    });
}
