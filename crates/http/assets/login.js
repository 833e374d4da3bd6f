// Logs in and out. The token is in a cookie that scripts cannot see, so all this page knows is what `/me` says.

const element = (id) => document.getElementById(id);

function say(text) {
  element('problem').textContent = text;
  element('problem').hidden = !text;
}

async function look() {
  const answer = await fetch('me', { headers: { Accept: 'application/json' } });
  const me = answer.ok ? await answer.json() : null;
  const inside = Boolean(me && me.mode === 'jwt');
  element('login').hidden = inside;
  element('inside').hidden = !inside;
  element('who').textContent = inside ? (me.user ?? 'known') : '';
  if (me && me.mode === 'open') {
    say('This hub asks nobody who they are.');
  }
}

element('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  say('');
  element('enter').disabled = true;
  try {
    const answer = await fetch('login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ username: element('username').value, password: element('password').value }),
    });
    if (answer.ok) {
      element('password').value = '';
      await look();
    } else {
      say((await answer.json()).detail);
    }
  } catch {
    say('The hub does not answer.');
  } finally {
    element('enter').disabled = false;
  }
});

element('leave').addEventListener('click', async () => {
  await fetch('logout', { method: 'POST' });
  await look();
});

await look();
