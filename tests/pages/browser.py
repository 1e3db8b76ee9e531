"""Scripts that a browser runs on a page."""

# The text elements whose contrast with what is behind them is below 4.5, as `TEXT: ratio`.
LOW_CONTRAST = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = (rgb) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, alpha = 1] = parse(getComputedStyle(one).backgroundColor);
      if (alpha === 1) return [r, g, b];
      if (alpha > 0) throw new Error(`half transparent: ${one.outerHTML.slice(0, 80)}`);
    }
    throw new Error("nothing is behind the page");
  };
  const found = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE"].includes(element.tagName) || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = parse(element.ownerSVGElement ? style.fill : style.color).slice(0, 3);
    const [high, low] = [luminance(colour), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    seen += 1;
    if (ratio < 4.5) found.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { found, seen };
}
"""

# How far the page is wider than the window, in pixels.
OVERFLOW = "() => document.documentElement.scrollWidth - window.innerWidth"

# What the focused element is drawn around it with, in pixels.
OUTLINE = "() => parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
