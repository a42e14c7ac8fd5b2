// Search, theme and the menu of small screens. The index is loaded when the search is first used.
'use strict';
(() => {
  const root = document.body.dataset.root;
  const field = document.getElementById('search');
  const found = document.getElementById('found');
  const SHOWN = 12;

  const loaded = new Promise((resolve) => {
    field.addEventListener('focus', () => {
      const script = document.createElement('script');
      script.src = `${root}/search-index.js`;
      script.addEventListener('load', () => resolve(window.searchIndex));
      document.head.append(script);
    }, { once: true });
  });

  function score([, title, heading, , text], words) {
    let total = 0;
    const places = [[title.toLowerCase(), 8], [heading.toLowerCase(), 12], [text.toLowerCase(), 1]];
    for (const word of words) {
      let best = 0;
      for (const [place, weight] of places) {
        const at = place.indexOf(word);
        if (at >= 0) best += at === 0 || /[^a-z0-9]/.test(place[at - 1]) ? 2 * weight : weight;
      }
      if (best === 0) return 0;
      total += best;
    }
    return total;
  }

  function around(text, word) {
    const at = Math.max(0, text.toLowerCase().indexOf(word));
    const begin = Math.max(0, at - 40);
    const parts = [text.slice(begin, at), text.slice(at, at + word.length), text.slice(at + word.length, at + 110)];
    const line = document.createElement('small');
    const mark = document.createElement('mark');
    mark.textContent = parts[1];
    line.append((begin > 0 ? '… ' : '') + parts[0], mark, parts[2]);
    return line;
  }

  async function search() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) { found.hidden = true; return; }
    const index = await loaded;
    const hits = index.map((each) => [score(each, words), each]).filter(([points]) => points > 0)
      .sort((one, other) => other[0] - one[0]).slice(0, SHOWN);
    found.replaceChildren(...hits.map(([, [address, title, heading, anchor, text]]) => {
      const link = document.createElement('a');
      link.href = `${root}/${address}#${anchor}`;
      const head = document.createElement('b');
      head.textContent = heading === title ? title : `${title} › ${heading}`;
      link.append(head, around(text, words[0]));
      const item = document.createElement('li');
      item.append(link);
      return item;
    }));
    if (hits.length === 0) {
      const item = document.createElement('li');
      item.textContent = 'Nothing found';
      found.replaceChildren(item);
    }
    found.hidden = false;
  }

  field.addEventListener('input', search);
  document.addEventListener('keydown', (event) => {
    if (event.key === '/' && document.activeElement !== field) { event.preventDefault(); field.focus(); }
    if (event.key === 'Escape') { found.hidden = true; field.blur(); }
    if ((event.key === 'ArrowDown' || event.key === 'ArrowUp') && !found.hidden) {
      const links = [...found.querySelectorAll('a')];
      const now = links.indexOf(document.activeElement);
      const next = links[now + (event.key === 'ArrowDown' ? 1 : -1)] || (event.key === 'ArrowUp' ? field : links[0]);
      if (next) { event.preventDefault(); next.focus(); }
    }
  });
  document.addEventListener('click', (event) => {
    if (!found.parentElement.contains(event.target)) found.hidden = true;
  });

  const page = document.documentElement;
  const kept = () => { try { return localStorage.getItem('repave-theme'); } catch { return null; } };
  if (kept()) page.dataset.theme = kept();
  document.getElementById('theme').addEventListener('click', () => {
    const isDark = page.dataset.theme ? page.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    page.dataset.theme = isDark ? 'light' : 'dark';
    try { localStorage.setItem('repave-theme', page.dataset.theme); } catch { /* kept for this page only */ }
  });

  const menu = document.getElementById('menu');
  menu.addEventListener('click', () => {
    const isOpen = menu.getAttribute('aria-expanded') === 'true';
    menu.setAttribute('aria-expanded', String(!isOpen));
    document.getElementById('pages').classList.toggle('open', !isOpen);
  });

  for (const block of document.querySelectorAll('pre')) {
    const text = block.textContent;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      const lines = block.dataset.language === 'console'
        ? text.split('\n').filter((line) => line.startsWith('$ ')).map((line) => line.slice(2)).join('\n')
        : text;
      await navigator.clipboard.writeText(lines);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 1200);
    });
    block.append(button);
  }
})();
