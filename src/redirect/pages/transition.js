
(() => {
  const link = document.getElementById('go');
  const timer = document.getElementById('timer');
  const stop = document.getElementById('stop');
  const stopped = document.getElementById('stopped');
  let left = 6;
  const show = () => {
    timer.textContent = `You will be taken there in ${left} ${left === 1 ? 'second' : 'seconds'}.`;
  };
  const halt = () => {
    clearInterval(clock);
    timer.hidden = stop.hidden = true;
    stopped.textContent = 'The countdown is stopped. Nothing happens until you choose.';
  };
  const clock = setInterval(() => {
    if (document.hidden) return;
    left -= 1;
    if (left > 0) return show();
    clearInterval(clock);
    location.replace(link.href);
  }, 1000);
  stop.addEventListener('click', () => { halt(); link.focus(); });
  addEventListener('pageshow', (event) => { if (event.persisted) halt(); });
  show();
  stop.hidden = false;
})();
