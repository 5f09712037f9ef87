
'use strict';
(() => {
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const chips = all('.grid .chip');
  const trials = all('details.trial');
  const chipOf = new Map(chips.map((chip) => [chip.dataset.trial, chip]));

  // A link into something folded unfolds it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let box = target; box; box = box.parentElement) {
      if (box.tagName === 'DETAILS') box.open = true;
    }
    target.hidden = false;
    target.scrollIntoView({ block: 'center' });
    const focus = target.tagName === 'DETAILS' ? target.firstElementChild : target;
    if (focus.tagName === 'LI') focus.tabIndex = -1;
    focus.focus({ preventScroll: true });
  };
  addEventListener('hashchange', reveal);
  // The same link again is no change.
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.getAttribute('href') === location.hash) reveal();
  });

  reveal();
  // A bisection's page has nothing to filter.
  if (!document.getElementById('filters')) return;

  // Filters.
  const form = document.getElementById('filters');
  const words = document.getElementById('words');
  const count = document.getElementById('count');
  const boxes = Array.from(form.querySelectorAll('input[type=checkbox]'));
  const texts = trials.map((trial) => trial.firstElementChild.textContent.toLowerCase());
  const filter = () => {
    const outcomes = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    trials.forEach((trial, number) => {
      const fits = outcomes.has(trial.dataset.outcome)
        && wanted.every((word) => texts[number].includes(word));
      trial.hidden = !fits;
      chipOf.get(trial.id.slice(1)).hidden = !fits;
      shown += fits;
    });
    for (const box of all('.of-arm')) {
      box.hidden = !box.querySelector('details.trial:not([hidden])');
    }
    count.textContent = shown + ' of ' + trials.length + ' trials';
    rove(chips.find((chip) => !chip.hidden));
  };

  // One stop for the whole grid; arrows move within it.
  const rove = (chip) => {
    for (const other of chips) other.tabIndex = -1;
    if (chip) chip.tabIndex = 0;
  };
  const move = (chip, key) => {
    const shown = chips.filter((other) => !other.hidden);
    const at = shown.indexOf(chip);
    const row = (one) => one.closest('tr');
    const inRow = shown.filter((other) => row(other) === row(chip));
    // In the next row with any, the one that stands nearest: arms may be columns.
    const below = (others) => {
      const next = others.find((other) => row(other) !== row(chip));
      const place = (one) => [one.parentElement.cellIndex,
        Array.prototype.indexOf.call(one.parentElement.children, one)];
      const [cell, within] = place(chip);
      const far = (one) => {
        const [at, inside] = place(one);
        return Math.abs(at - cell) * 1000 + Math.abs(inside - within);
      };
      return others.filter((other) => next && row(other) === row(next))
        .sort((one, other) => far(one) - far(other))[0];
    };
    switch (key) {
      case 'ArrowRight': return shown[at + 1];
      case 'ArrowLeft': return shown[at - 1];
      case 'Home': return inRow[0];
      case 'End': return inRow[inRow.length - 1];
      case 'ArrowDown': return below(shown.slice(at));
      case 'ArrowUp': return below(shown.slice(0, at).reverse());
    }
    return undefined;
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === '/' && event.target.tagName !== 'INPUT') {
      event.preventDefault();
      words.focus();
      return;
    }
    if (!event.target.matches('.grid .chip')) return;
    const next = move(event.target, event.key);
    if (!next) return;
    event.preventDefault();
    rove(next);
    next.focus();
  });

  form.addEventListener('input', filter);
  form.addEventListener('submit', (event) => event.preventDefault());
  form.hidden = false;
  filter();
  reveal();
})();
