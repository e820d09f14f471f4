// What is wrong with the page as it is drawn: a list of sentences, empty where all is well.
(() => {
  const problems = [];
  const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
  const luminance = color => {
    const [r, g, b] = color.map(of => of / 255).map(of => of <= 0.04045 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const background = node => {
    for (; node; node = node.parentElement) {
      const color = rgb(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const isShown = node => node.getClientRects().length > 0;
  // WCAG 2.2, 1.4.3: 4.5 for text.
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || !isShown(parent) || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(parent.tagName)) continue;
    const style = getComputedStyle(parent);
    const color = rgb(parent.namespaceURI.endsWith("svg") ? style.fill : style.color).slice(0, 3);
    const ratio = contrast(color, background(parent));
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)} of "${node.textContent.trim()}"`);
  }
  // 1.4.11: 3 for what carries meaning without being text.
  for (const path of document.querySelectorAll("svg path")) {
    const ratio = contrast(rgb(getComputedStyle(path).stroke).slice(0, 3), background(path));
    if (ratio < 3) problems.push(`contrast ${ratio.toFixed(2)} of a line in the chart`);
  }
  // Wider than the screen: one would have to scroll sideways to read.
  if (document.documentElement.scrollWidth > innerWidth) problems.push(`the page is ${document.documentElement.scrollWidth} wide on ${innerWidth}`);
  for (const button of document.querySelectorAll("button, a[href]")) {
    if (!isShown(button)) continue;
    const { width, height } = button.getBoundingClientRect();
    // 2.5.8: 24 pixels, but for links within a sentence.
    if (button.tagName === "BUTTON" && (width < 24 || height < 24)) problems.push(`"${button.textContent}" is small: ${width} x ${height}`);
    if (!(button.textContent.trim() || button.getAttribute("aria-label"))) problems.push("a button or link has no name");
  }
  if (!document.documentElement.lang) problems.push("the page has no language");
  if (document.querySelectorAll("h1").length !== 1) problems.push("there is not exactly one h1");
  for (const section of document.querySelectorAll("section")) {
    const label = document.getElementById(section.getAttribute("aria-labelledby"));
    if (isShown(section) && !(label && label.textContent.trim())) problems.push("a section has no name");
  }
  for (const table of document.querySelectorAll("table")) {
    if (!isShown(table)) continue;
    if ([...table.querySelectorAll("th")].some(th => !th.scope)) problems.push(`a heading of the table ${table.id} has no scope`);
  }
  for (const entry of performance.getEntriesByType("resource"))
    if (new URL(entry.name).origin !== location.origin) problems.push(`outside request: ${entry.name}`);
  return problems;
})()
