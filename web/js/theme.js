/* theme.js: sets light or dark before the first paint, so that nothing flashes. A classic script on purpose: modules run late. */
'use strict';
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem('hearth.theme');
  } catch {
    /* storage is switched off: follow the system */
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
