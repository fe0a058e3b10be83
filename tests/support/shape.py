"""Whether a page fits its screen and can be used there."""

from __future__ import annotations

from collections.abc import Sequence

from .page import Page

SIZES = ((320, 640), (390, 844), (844, 390), (768, 1024), (1280, 800))

SMALL_TARGETS = """[...document.querySelectorAll('button, select, input, textarea, a')]
  .map((e) => [e.dataset.testid ?? e.innerText, e.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([name]) => name)"""

# WCAG 2.2, 1.4.3, for text on plain ground; what lies over pictures has a ground of its own or none to measure.
PALE = """(() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
      if (a === 1) return [r, g, b];
      if (a > 0) return null;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest(':disabled, .unseen, noscript')) continue;
    const behind = ground(element);
    if (!behind) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) pale.push([walker.currentNode.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return pale;
})()"""

UNNAMED = """[...document.querySelectorAll('button')].filter((e) => e.getClientRects().length
  && !(e.getAttribute('aria-label') ?? e.innerText).trim()).map((e) => e.outerHTML.slice(0, 120))"""


async def fits(page: Page, sizes: Sequence[tuple[int, int]] = SIZES) -> None:
    """Nothing sticks out at any width, everything can be tapped, read and named."""
    for width, height in sizes:
        await page.tab.resize(width, height)
        wide = await page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width, f"{page.name} is {wide} px wide on a screen of {width}"
        assert await page.evaluate(SMALL_TARGETS) == [], f"at {width}"
        assert await page.evaluate(PALE) == [], f"at {width}"
        assert await page.evaluate(UNNAMED) == [], f"at {width}"
