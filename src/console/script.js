// What the console adds where there is JavaScript: copy buttons, and whether a code is free while it is typed. All else works without.
(() => {
  // The page brings the words, and says what language they are in. The status is what is read out.
  const status = document.getElementById('status');
  const said = (id) => document.getElementById(id).content.cloneNode(true);
  for (const button of document.querySelectorAll('button[data-copy]')) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    const words = [...button.childNodes];
    const label = button.ariaLabel;
    button.addEventListener('click', async () => {
      const result = await navigator.clipboard.writeText(button.dataset.copy).then(() => 'copied', () => 'not-copied');
      for (const place of [button, status]) place.replaceChildren(said(result));
      button.ariaLabel = null;
      setTimeout(() => {
        button.replaceChildren(...words);
        button.ariaLabel = label;
        status.replaceChildren();
      }, 2000);
    });
  }

  // A second press while the first is under way sends nothing. A page that comes back out of the browser's memory can be sent again.
  for (const form of document.querySelectorAll('form[data-once]')) {
    let isSent = false;
    form.addEventListener('submit', (event) => {
      if (isSent) event.preventDefault();
      isSent = true;
    });
    addEventListener('pageshow', () => { isSent = false; });
  }

  const code = document.querySelector('input[data-availability]');
  const hint = code && document.getElementById(code.dataset.availability);
  if (hint) {
    let asked = 0;
    let timer;
    code.addEventListener('input', () => {
      clearTimeout(timer);
      hint.textContent = '';
      const turn = ++asked;
      const text = code.value.trim();
      if (!text) return;
      timer = setTimeout(async () => {
        try {
          // Who was logged out meanwhile is led to the login page, which is no hint.
          const answer = await fetch(`/console/availability?code=${encodeURIComponent(text)}`, {redirect: 'error'});
          const words = answer.ok ? await answer.text() : '';
          // HTML of ours, like the page itself: what was typed is escaped in it.
          if (turn === asked) hint.innerHTML = words;
        } catch { /* Saving the form tells. */ }
      }, 300);
    });
  }
})();
