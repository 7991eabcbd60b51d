// What the console adds where there is JavaScript: copy buttons, and whether a code is free while it is typed. All else works without.
(() => {
  // The page brings the words in its language.
  const words = document.currentScript.dataset;
  for (const button of document.querySelectorAll('button[data-copy]')) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = words.copied;
      } catch {
        button.textContent = words.notCopied;
      }
      setTimeout(() => { button.textContent = label; }, 2000);
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
  const said = code && document.getElementById(code.dataset.availability);
  if (said) {
    let asked = 0;
    let timer;
    code.addEventListener('input', () => {
      clearTimeout(timer);
      said.textContent = '';
      const turn = ++asked;
      const text = code.value.trim();
      if (!text) return;
      timer = setTimeout(async () => {
        try {
          const answer = await fetch(`/console/availability?code=${encodeURIComponent(text)}`);
          const words = answer.ok ? await answer.text() : '';
          if (turn === asked) said.textContent = words;
        } catch { /* Saving the form tells. */ }
      }, 300);
    });
  }
})();
