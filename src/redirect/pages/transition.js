
(() => {
  const link = document.getElementById('go');
  const timer = document.getElementById('timer');
  const stop = document.getElementById('stop');
  const stopped = document.getElementById('stopped');
  // One sentence a second, the last second's first. The page brings them in its language.
  const words = timer.dataset.words.split('|');
  let left = words.length;
  const halt = () => {
    clearInterval(clock);
    timer.hidden = stop.hidden = true;
    stopped.textContent = stopped.dataset.words;
  };
  const clock = setInterval(() => {
    if (document.hidden) return;
    left -= 1;
    if (left > 0) {
      timer.textContent = words[left - 1];
    } else {
      clearInterval(clock);
      location.replace(link.href);
    }
  }, 1000);
  stop.addEventListener('click', () => { halt(); link.focus(); });
  addEventListener('pageshow', (event) => { if (event.persisted) halt(); });
  stop.hidden = false;
})();
